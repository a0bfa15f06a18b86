"""Sweeps: many members trained together, group by group."""
