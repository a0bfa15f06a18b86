"""The memory of a model: its capacity, its size in bytes, and collisions of what it holds."""
