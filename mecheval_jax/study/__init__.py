"""The reference study (arXiv 2505.15105): what it published, run again, and judged."""
