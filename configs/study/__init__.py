"""Experiments of arXiv 2505.15105, "the study", one per file."""

import importlib
from types import ModuleType


def config_of(experiment: str) -> ModuleType:
    """The config module of an experiment of the study, by its name."""
    return importlib.import_module(f"{__name__}.{experiment}")
