"""Settings of every test: annotations are checked, and no array is broadcast by accident.

The annotations of `mecheval_jax` (``Float[Array, "batch length width"]``) are checked at
every call by beartype, through jaxtyping's import hook, which must be in place before the
package is imported: pytest reads this file before any test module.
"""

import gc
import importlib
import os

from tests.support import annotations, compilation

# jax reads them when it is imported, and so do the programs that tests start.
os.environ.update(compilation.settings())

import jax
import pytest

annotations.install()

# x [batch, width] + y [width] is an error; to broadcast, a program must say so.
jax.config.update("jax_numpy_rank_promotion", "raise")

IMPORTED = ("optax", "orbax.checkpoint", "pandas", "matplotlib.figure", "scipy.stats", "jinja2")
"""What no module under the hook must be the first to import: it would be compiled from source."""

LONGEST = (
    "integration/test_documentation.py",
    "integration/test_sharding.py",
    "integration/test_sweep_program.py",
    "integration/test_sharded_members.py",
    "evaluation/test_analyses.py",
    "sweeps/test_run.py",
    "mixers/test_mixers.py",
    "models/test_half_precision.py",
    "integration/test_programs.py",
    "evaluation/patching/test_grid.py",
    "mixers/test_golden_mixers.py",
    "integration/test_hosts.py",
    "study/test_run.py",
    "training/ensemble/test_member_programs.py",
    "sweeps/test_group.py",
    "integration/test_browser.py",
    "training/test_checkpoints.py",
    "mixers/test_recurrence.py",
    "mixers/test_mixer_sites.py",
)
"""Files that take the most time, the longest first."""


def pytest_sessionstart(session):
    """Prepare a process that runs tests, which that of ``-n`` itself does not."""
    if session.config.getoption("dist", "no") == "no":
        importlib.import_module("mecheval_jax.allocator").keep_memory()
        compilation.trace_quickly()
        for name in IMPORTED:
            importlib.import_module(name)


@pytest.hookimpl(tryfirst=True)  # before tests are left out by their marks
def pytest_collection_modifyitems(items):
    """Mark the tests that take seconds, and start the longest files first.

    No core waits for the last file then. `tools.long_tests` writes the names of long tests, from
    what was measured; with it modules of the package are imported, which must be checked, too.
    """
    from tools.long_tests import FILE, function_of

    known = frozenset(FILE.read_text().split())
    for item in items:
        if function_of(item.nodeid) in known:
            item.add_marker("long")
    rank = {str(compilation.ROOT / "tests" / name): i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(str(item.path), len(LONGEST)))


def pytest_collection_finish():
    """Leave out what was imported when Python looks for cycles: it stays."""
    gc.collect()
    gc.freeze()
