"""Pure functions on arrays: the mathematics of the mixers, without Flax."""
