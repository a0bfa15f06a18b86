"""Statistics that know of no model: the bootstrap, intervals, false discoveries."""
