"""What a model remembers: how much, for how many bytes, and what happens when memories collide."""
