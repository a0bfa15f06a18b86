"""Margins within which numbers count as equal or different, and groups of architectures.

Every margin is chosen so that the study's own numbers lie on the right side of it, with room for
one seed on 320 documents and no more: if a finding says "ahead" or "the highest", the bound is 0.
"""

ACCURACY = 0.02
"""Margin of a bound on an accuracy: six of 320 documents."""

FEW_POINTS = 0.08
"""Difference of accuracies that are "a few points" apart: the study's own differ by up to 7.5."""

LITTLE = 0.1
"""Difference below which accuracies differ little."""

FAR = 0.2
"""Difference above which accuracies are far apart: the study says it for 27 points or more."""

ATTRIBUTION = 0.2
"""Distance from 0 and 1 within which restored shares count as these, as in the verdict's rule."""

MOST = 0.6
"""Share from which on a place holds most of a pair: the study says it for means of .8 or more."""

NEARLY_ALL = 0.95
"""Least share where the study says that 99 % or more is restored."""

HALF = 0.5
"""Share above which a layer writes the answer, or a place holds it; below it a run fails."""

INDUCTION = ("attention", "based")
"""Architectures that the study calls inductive."""

SSMS = ("h3", "hyena", "mamba")
"""Architectures that the study says retrieve directly."""

MIXERS = ("attention", "base_conv", "based", "h3", "hyena", "mamba")
"""All architectures of the study's second version; Mamba is the last."""
