"""What a choice begins with."""

import dataclasses

from mecheval_jax.selection import opening, run
from mecheval_jax.selection.plan import Plan, Size, Timing
from mecheval_jax.store.choice import UNFINISHED, ChoiceFolder
from mecheval_jax.sweeps.run import SweepOutcome
from tests.selection.conftest import ARGUMENTS


def test_a_budget_for_the_smallest_width_alone(asked, tmp_path, monkeypatch):
    """Catches costs of a width that is not planned, which cannot be read, and a width at which no
    step is measured."""

    def step_of(shapes, how, until):
        rows = [{"model": name, "length": how.lengths[0]} for name in shapes]
        return {("based", one.width): Timing(0.01, 1.0) for one in shapes.values()}, rows

    monkeypatch.setattr(opening, "measure_steps", step_of)
    monkeypatch.setattr(opening, "may_be_wider", lambda *_: True)
    one = Plan(Size((8,), asked.rates, 1), 1.0, ("width 16", "1 of 2 seeds"))
    monkeypatch.setattr(opening, "fit", lambda _, timings, *__: {(8, 16): one}[(*timings,)])
    monkeypatch.setattr(run, "_trained", lambda *_: SweepOutcome({}))
    monkeypatch.setattr(run.costs, "continue_measuring", lambda *_, **__: None)
    wide = dataclasses.replace(asked, widths=(8, 16), budget=60.0)
    for _ in range(2):
        run.choose_architecture(wide, tmp_path / "new", ARGUMENTS)
    (row,) = ChoiceFolder(tmp_path / "new").read_choice().to_dict("records")
    assert (row["width"], row["state"]) == (8, UNFINISHED)
