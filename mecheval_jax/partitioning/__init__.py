"""Placement of arrays: meshes of devices, rules for the layout of trees, several hosts."""
