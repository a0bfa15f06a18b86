"""One file per experiment: ``get_config(arg)`` and ``sweep()``."""
