"""Showing what was found: rows on disk, progress on a terminal, figures, a report."""
