"""Where arrays live: meshes of devices, and rules that place a tree on them."""
