"""Recall tasks: what a document is, who asks what of it, and how to corrupt it."""
