"""Known mechanisms, by which the instrument itself is tested."""
