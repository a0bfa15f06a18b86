"""Files of runs and sweeps: where they are, and how they are written and read."""
