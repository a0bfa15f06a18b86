"""Imports run one way: tasks and mixers, models, training, interventions, evaluation, reporting.

Read from the source, imports inside functions included.
"""

import ast

import pytest

from tests.support.compilation import ROOT

PACKAGE = "mecheval_jax"

LAYERS = (
    ("array_types", "errors", "console", "statistics", "site_path"),
    ("allocator", "fields", "forms", "machine"),
    ("files", "programs"),
    ("checksums", "trust", "usage_errors"),
    ("mesh_axes",),
    ("sites",),
    ("ops",),
    ("tasks", "mixers"),
    ("models", "study.published"),  # published numbers, and no code of the study
    ("interop", "partitioning"),
    ("training",),
    ("training.ensemble",),
    ("interventions",),
    ("evaluation.config",),  # what an experiment says about its evaluation
    ("experiment",),
    ("changes",),
    ("evaluation",),  # what its parts share
    ("evaluation.patching",),
    ("evaluation.representations",),
    ("evaluation.cost", "evaluation.memory", "evaluation.verdict"),
    ("evaluation.analyses", "evaluation.transparency"),
    ("store",),
    ("reporting",),
    ("runs", "costs", "comparison", "benchmarks", "command_line", "completion"),
    ("sweeps",),
    ("study", "selection", "ground_truth"),
    ("__main__",),
)
"""From the bottom up. Those of one layer do not know each other; the longest name counts."""

PLACE = {name: i for i, names in enumerate(LAYERS) for name in names}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
}


def unit(module):
    """The name in `LAYERS` that a module of the package belongs to; None if there is none."""
    parts = module.removeprefix(PACKAGE).strip(".").split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((name for name in names if name in PLACE), None)


def imported(source):
    """Modules that a source text imports, with the names taken from them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_way(module, source):
    """The imports of `module` that do not go down."""
    here = unit(module)
    for target in imported(source):
        if target.startswith(("configs", "launch", "tests")):
            yield target
        elif target.startswith(f"{PACKAGE}."):
            there = unit(target)
            if there != here and (there is None or PLACE[there] >= PLACE[here]):
                yield target


# Catches an import that goes up, or sideways between layers that shall not know each other.
@pytest.mark.parametrize("module", [module for module in MODULES if module != PACKAGE])
def test_imports_go_down(module):
    assert unit(module), f"{module} has no place in LAYERS"
    assert not list(wrong_way(module, MODULES[module].read_text()))


# Catches a check that lets everything pass.
@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("ops.positions", "from mecheval_jax.mixers import based", ["mecheval_jax.mixers.based"]),
        ("mixers.mamba", "def f():\n  import mecheval_jax.tasks", ["mecheval_jax.tasks"]),
        ("training.loop", "from mecheval_jax import evaluation", ["mecheval_jax.evaluation"]),
        ("experiment", "from mecheval_jax.evaluation import config", []),
        ("experiment", "import mecheval_jax.evaluation.grid", ["mecheval_jax.evaluation.grid"]),
        ("runs", "import launch.train", ["launch.train"]),
        ("models.blocks", "import jax\nfrom mecheval_jax.sites import Site", []),
    ],
)
def test_the_check_itself(module, source, found):
    assert list(wrong_way(f"{PACKAGE}.{module}", source)) == found
