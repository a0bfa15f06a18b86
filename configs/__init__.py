"""Experiments, one per file, each with ``get_config(arg)`` and ``sweep()``."""
