"""Fitting a model to a task."""
