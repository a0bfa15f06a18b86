"""What activations hold, and where: probes, subspaces, lens, mixing matrices."""
