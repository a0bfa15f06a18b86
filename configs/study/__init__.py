"""Experiments of arXiv 2505.15105, "the study", one per file."""
