"""Associative Treecall: documents with the structure of a grammar."""
