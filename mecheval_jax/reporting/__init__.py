"""Presentation of results: tables and progress in a terminal, figures, HTML reports."""
