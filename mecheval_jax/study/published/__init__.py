"""The reference study's published numbers, as tables, each value with the figure it comes from."""
