"""Contents of activations and their places: probes, subspaces, lens, mixing matrices."""
