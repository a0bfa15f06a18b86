"""Presentation in a terminal: tables and progress."""
