"""Tasks whose documents are drawn inside a compiled program."""
