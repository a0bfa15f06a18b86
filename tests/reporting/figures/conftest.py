"""Every figure that a test of this folder draws is looked at."""

from tests.support.legible import every_figure

__all__ = ["every_figure"]
