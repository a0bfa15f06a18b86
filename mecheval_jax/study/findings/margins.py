"""How close counts as equal, and which architectures are meant."""

ACCURACY = 0.02
"""A bound on an accuracy is met within this: six of 320 documents."""

LITTLE = 0.1
"""Accuracies closer than this differ little."""

ATTRIBUTION = 0.2
"""Restored shares are about 1 above 1 less this, and about 0 below it, as in the verdict's rule."""

HALF = 0.5
"""A layer writes the answer, a place holds it, or a run fails, on one side of this."""

INDUCTION = ("attention", "based")
"""Architectures that the study calls inductive."""

SSMS = ("h3", "hyena", "mamba")
"""And those that retrieve directly."""

MIXERS = ("attention", "base_conv", "based", "h3", "hyena", "mamba")
"""All of the study's second version."""
