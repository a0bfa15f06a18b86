"""What a choice begins with."""

import dataclasses
import time

from mecheval_jax.files import write_json
from mecheval_jax.selection import opening, run
from mecheval_jax.selection.deadline import Deadline
from mecheval_jax.selection.plan import Plan, Size, Timing, sweep_of
from mecheval_jax.store.choice import UNFINISHED, ChoiceFolder
from mecheval_jax.sweeps.plan import open_folder
from mecheval_jax.sweeps.run import SweepOutcome
from tests.selection.conftest import ARGUMENTS
from tests.support import document_lines, small


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


def test_a_choice_goes_on_with_its_file_where_that_is_now(asked, tmp_path):
    """Catches a choice that its moved file locks for good, though its user says where that is."""
    document_lines.write(tmp_path, *document_lines.many(60))
    fields = {"model.max_length": 32, "training.evaluation_documents": 2}
    fields |= {"evaluation.documents": 2, "evaluation.roles": ("key", "value", "query")}

    def asked_of(path):
        task = {"name": "documents", "path": str(path), "dev": 0.2, "test": 0.2}
        experiment = small.experiment({**small.ONE_LAYER, **fields, "task": task})
        return dataclasses.replace(asked, experiment=experiment)

    first = asked_of(tmp_path / "documents.jsonl")
    folder = ChoiceFolder(tmp_path / "choice")
    timings = {16: {"based": Timing(0.01, 1.0)}}
    open_folder(folder, sweep_of(first, Size((16,), first.rates, 2), timings))
    write_json(folder.plan, {})
    new = (tmp_path / "documents.jsonl").rename(tmp_path / "moved.jsonl")
    sweep = opening.planned(folder, asked_of(new), Deadline(time.monotonic(), None))
    assert {one.task.path for one in sweep.experiments} == {str(new)}
    assert folder.read()["base"]["task"]["path"] == str(new)
