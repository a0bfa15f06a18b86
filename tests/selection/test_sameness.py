"""Which folders a choice goes on in."""

import dataclasses

import pytest

from configs import documents as config
from mecheval_jax.errors import UserError
from mecheval_jax.files import write_json
from mecheval_jax.selection.documents import fitted
from mecheval_jax.selection.plan import Size, Timing, sweep_of
from mecheval_jax.selection.request import ChoiceRequest
from mecheval_jax.selection.sameness import check_same
from mecheval_jax.store.choice import ChoiceFolder
from mecheval_jax.sweeps.plan import plan
from tests.support import document_lines, small

ASKED = ChoiceRequest(
    small.experiment(), mixers=("based",), widths=(16, 8), rates=(1e-2, 1e-3), seeds=3
)


def planned_of(asked, size):
    timings = {width: {mixer: Timing(0.01, 1.0) for mixer in asked.mixers} for width in size.widths}
    return sweep_of(asked, size, timings)


def test_what_a_budget_left_out_may_be_asked_again(tmp_path):
    """Catches the same command refused, and a further width that is passed over in silence."""
    folder, sweep = ChoiceFolder(tmp_path), planned_of(ASKED, Size((16,), (1e-2,), 2))
    check_same(folder, sweep, ASKED)  # broken off before the plan was written
    write_json(folder.plan, {})
    with pytest.raises(UserError, match="holds a choice of --widths=16, without 8: take"):
        check_same(folder, sweep, ASKED)
    write_json(folder.plan, {"asked": ASKED.asked})
    check_same(folder, sweep, ASKED)
    check_same(folder, sweep, dataclasses.replace(ASKED, widths=(16,), seeds=2))
    for changes in ({"widths": (16, 8, 32)}, {"seeds": 4}, {"rates": (1e-2, 3e-3)}):
        with pytest.raises(UserError, match="holds a choice of"):
            check_same(folder, sweep, dataclasses.replace(ASKED, **changes))


@pytest.mark.parametrize(
    ("field", "values"), [("training.weight_decay", (0.0, 0.5)), ("model.layers", (1, 2))]
)
def test_runs_that_differ_in_another_field_are_no_choice(field, values, tmp_path):
    """Catches runs of other weight decays that count as seeds of one setting."""
    others = [
        {"model.mixer": "based", "model.width": 16, "training.learning_rate": 1e-2, field: value}
        for value in values
    ]
    asked = dataclasses.replace(ASKED, widths=(16,), rates=(1e-2,), seeds=1)
    sweep = plan(asked.experiment.as_dict(), others)
    with pytest.raises(UserError, match="holds a sweep that is no choice"):
        check_same(ChoiceFolder(tmp_path), sweep, asked)


def test_where_a_file_lies_does_not_count(tmp_path, monkeypatch):
    """Catches a choice that is refused for the same file by another path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.jsonl").write_text("\n".join(document_lines.many(300)))

    def asked_of(path):
        sections = config.get_config().to_dict()
        sections["task"]["path"] = path
        return ChoiceRequest(fitted(sections), mixers=("based",), widths=(8,), rates=(1e-2,))

    first, again = asked_of("here.jsonl"), asked_of(str(tmp_path / "here.jsonl"))
    sweep = planned_of(first, Size((8,), (1e-2,), 3))
    check_same(ChoiceFolder(tmp_path), sweep, again)
    (tmp_path / "other.jsonl").write_text("\n".join(document_lines.many(301)))
    with pytest.raises(UserError, match=r"another task.*task\.sha256"):
        check_same(ChoiceFolder(tmp_path), sweep, asked_of("other.jsonl"))
