"""Files of runs and sweeps: what stands where, and how it is written and read."""
