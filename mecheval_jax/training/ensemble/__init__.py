"""Members of one shape, trained together as one program."""
