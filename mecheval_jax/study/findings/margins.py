"""How close counts as equal, how far as different, and which architectures are meant.

Every margin is chosen so that the study's own numbers lie on the right side of it with room for one
seed on 320 documents, and no wider: where a finding says "ahead" or "the highest", the bound is 0.
"""

ACCURACY = 0.02
"""A bound on an accuracy is met within this: six of 320 documents."""

FEW_POINTS = 0.08
"""Accuracies that "differ by a few points": the study's own differ by 7.5 at most."""

LITTLE = 0.1
"""Accuracies closer than this differ little."""

FAR = 0.2
"""Accuracies further apart are far apart: where the study says so, by 27 points or more."""

ATTRIBUTION = 0.2
"""Restored shares are about 1 above 1 less this, and about 0 below it, as in the verdict's rule."""

MOST = 0.6
"""A place holds most of a pair from here on: where the study says .8 or more of a task's mean."""

NEARLY_ALL = 0.95
"""What the study says restores 99 % or more restores this at least."""

HALF = 0.5
"""A layer writes the answer, a place holds it, or a run fails, on one side of this."""

INDUCTION = ("attention", "based")
"""Architectures that the study calls inductive."""

SSMS = ("h3", "hyena", "mamba")
"""Architectures that it says retrieve directly."""

MIXERS = ("attention", "base_conv", "based", "h3", "hyena", "mamba")
"""All of the study's second version; Mamba is the last."""
