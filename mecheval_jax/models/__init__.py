"""Language models built from mixers."""
