"""Programs, run as ``python -m launch.NAME`` from the repository's root."""
