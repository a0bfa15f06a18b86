"""What the reference study published, as tables, each value with the figure that it stands in."""
