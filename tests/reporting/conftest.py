"""A sweep that several tests look at."""

import pandas as pd
import pytest

from mecheval_jax.sweeps.run import collect
from tests.support import sweep_results
from tests.support.sweep_results import ACCURACIES, ATTENTION, make_sweep


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    """A sweep whose last group failed half-way, as `collect` leaves it."""
    folder = make_sweep(
        tmp_path_factory.mktemp("sweeps") / "one",
        ACCURACIES,
        unfinished=["based"],
        diverged={4: 7},
        stopped={5: 15},
        verdicts=sweep_results.VERDICTS,
    )
    (folder.group(ATTENTION).member(5)).mkdir(parents=True)
    (folder.group(ATTENTION).member(5) / "report.html").write_text("")
    collect(folder)
    return folder


@pytest.fixture(scope="session")
def table(swept):
    return pd.read_csv(swept.table)
