"""Statistics without a model in them: the bootstrap, intervals, false discoveries."""
