"""The reference study (arXiv 2505.15105): its published results, repeated and judged."""
