"""Runs and sweeps side by side."""

import dataclasses

import pandas as pd
import pytest

from mecheval_jax import comparison
from mecheval_jax.errors import UserError
from mecheval_jax.files import write_json
from mecheval_jax.statistics.intervals import difference_of_estimates, wilson
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.run_folder import RunFolder
from tests.support import forked, small, sweep_results
from tests.support.pages import tables_of, words_of


def make_run(path, accuracy, low, high, changes=None, **summary):
    """The folder of a run that was never trained."""
    folder = RunFolder(path)
    path.mkdir()
    write_json(folder.config, small.experiment(changes).as_dict())
    known = {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high}
    known |= {"finished": True, "step": 20}
    write_json(folder.summary, known | {"floors": {"best": 0.25}} | summary)
    return path


def make_sweep(path, accuracies, **how):
    """The folder of a sweep that was never trained."""
    folder = sweep_results.make_sweep(path, accuracies, **how)
    flat = [one for of in accuracies.values() for one in of.values()]
    sweep_results.fill_members(folder, dict(enumerate(flat)))
    for group in folder.groups():
        for member in group.members.glob("*"):
            write_json(member / "config.json", small.experiment({"model.mixer": MIXERS[group.name]}
                       | POSITIONS[group.name]).as_dict())  # fmt: skip
    return path


MIXERS = {sweep_results.ATTENTION: "attention", "001_mamba_width_16": "mamba"}
POSITIONS = {
    sweep_results.ATTENTION: {"model.positions": "learned"},
    "001_mamba_width_16": {},
}
ONE = {"attention": {(1e-2, 0): 0.9, (1e-2, 1): 0.2}, "mamba": {(1e-2, 0): 0.6}}
TWO = {"attention": {(1e-2, 0): 0.95, (1e-2, 1): 0.9}, "mamba": {(1e-2, 0): 0.5}}


def rows_of(found, metric):
    return [row for row in found.rows if row["metric"] == metric]


def test_runs_are_held_against_the_first(tmp_path):
    """Catches a difference with the wrong sign, and an interval that is not of a difference."""
    first = make_run(tmp_path / "a", 0.9, 0.85, 0.93, verdict="induction",
                     probabilities={"induction": 0.99})  # fmt: skip
    second = make_run(tmp_path / "b", 0.7, 0.65, 0.75, {"model.width": 8})
    found = comparison.compare([first, second, first])
    a, b = rows_of(found, "accuracy")
    assert a["against"] is None
    assert a["difference"] is None
    assert (a["verdict"], a["probability"]) == ("induction", 0.99)
    assert b["against"] == f"{first}: a"
    assert b["difference"] == pytest.approx(-0.2)
    ends = difference_of_estimates((0.7, 0.65, 0.75), (0.9, 0.85, 0.93))
    assert (b["difference_low"], b["difference_high"]) == pytest.approx(ends)
    assert ends[0] < -0.2 < ends[1] < 0


def test_sweeps_are_compared_shape_by_shape(tmp_path):
    """Catches shapes mixed up, and a sweep whose best run is chosen by the test documents."""
    one, two = (make_sweep(tmp_path / name, of) for name, of in (("one", ONE), ("two", TWO)))
    found = comparison.compare([one, two])
    assert found.left_out == {}
    accuracy = {(row["folder"], row["mixer"]): row for row in rows_of(found, "accuracy")}
    better = accuracy[str(two), "attention"]
    assert better["against"] == f"{one}: {sweep_results.ATTENTION}"
    assert better["difference"] == pytest.approx(0.05)
    assert accuracy[str(two), "mamba"]["difference"] == pytest.approx(-0.1)
    learned = {(row["folder"], row["mixer"]): row for row in rows_of(found, "learned")}
    row = learned[str(one), "attention"]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.5, *wilson(1, 2)))
    assert learned[str(two), "attention"]["difference"] == pytest.approx(0.5)


def test_options_tell_models_apart(tmp_path):
    """Catches a model held against another one of its sweep, which differs in an option alone."""
    runs = [
        make_run(tmp_path / f"d_conv_{taps}", accuracy, accuracy - 0.05, accuracy + 0.05,
                 {"model.mixer": "mamba", "model.mixer_options": {"d_conv": taps}})
        for taps, accuracy in ((2, 0.5), (4, 0.9))
    ]  # fmt: skip
    assert len({comparison._entries(str(run), LeftOut(aloud=False))[0].model for run in runs}) == 2
    usual = make_run(tmp_path / "usual", 0.9, 0.85, 0.95, {"model.mixer": "mamba"})
    (default,) = comparison._entries(str(usual), LeftOut(aloud=False))
    assert default.model == comparison._entries(str(runs[1]), LeftOut(aloud=False))[0].model
    entries = [one for run in runs for one in comparison._entries(str(run), LeftOut(aloud=False))]
    same = [dataclasses.replace(one, folder="first") for one in entries]
    rows = list(comparison._rows("task", [*same, *entries]))
    against = {(row["folder"], row["name"]): row["against"] for row in rows}
    assert against["first", "d_conv_2"] is None
    for run in runs:
        assert against[str(run), run.name] == f"first: {run.name}"


def test_of_equal_models_the_one_of_the_same_name_counts(tmp_path):
    """Catches groups that differ in their batches alone, all held against the last of them."""
    (tmp_path / "of").mkdir()
    runs = [make_run(tmp_path / "of" / name, accuracy, accuracy - 0.05, accuracy + 0.05)
            for name, accuracy in (("small", 0.5), ("large", 0.9), ("middle", 0.7))]  # fmt: skip
    entries = [one for run in runs for one in comparison._entries(str(run), LeftOut(aloud=False))]
    first = [dataclasses.replace(one, folder="first") for one in entries[:2]]
    rows = list(comparison._rows("task", [*first, *entries]))
    against = {(row["folder"], row["name"]): row["against"] for row in rows}
    assert against["first", "small"] is against["first", "large"] is None
    assert against[str(runs[0]), "small"] == "first: small"
    assert against[str(runs[1]), "large"] == "first: large"
    assert against[str(runs[2]), "middle"] == "first: large"  # the most accurate


def test_of_several_of_its_shape_one_is_compared_with(tmp_path):
    """Catches a model held against another architecture, though there are two of its shape."""
    (tmp_path / "of").mkdir()
    runs = [
        make_run(tmp_path / "of" / name, accuracy, accuracy - 0.05, accuracy + 0.05, changes)
        for name, accuracy, changes in (
            ("two", 0.5, {"model.mixer": "mamba", "model.mixer_options": {"d_conv": 2}}),
            ("eight", 0.7, {"model.mixer": "mamba", "model.mixer_options": {"d_conv": 8}}),
            ("attention", 0.9, {"model.mixer": "attention"}),
            ("four", 0.6, {"model.mixer": "mamba"}),
        )
    ]
    entries = [one for run in runs for one in comparison._entries(str(run), LeftOut(aloud=False))]
    first = [dataclasses.replace(one, folder="first") for one in entries[:3]]
    assert comparison._held_against(entries[3], first) is first[1]
    assert comparison._held_against(entries[0], first) is first[0]


def test_tasks_are_never_mixed(tmp_path):
    """Catches runs on other documents told as better or worse."""
    runs = [
        make_run(tmp_path / "a", 0.9, 0.85, 0.93),
        make_run(tmp_path / "b", 0.7, 0.65, 0.75, {"task.pairs": 3}),
        make_run(tmp_path / "c", 0.6, 0.55, 0.65, {"task.pairs": 3, "model.width": 8}),
    ]
    found = comparison.compare(runs)
    names = {"1 associative_recall, pairs 2", "2 associative_recall, pairs 3"}
    assert {row["task"] for row in found.rows} == names  # which no number alone tells apart
    assert [row["against"] for row in found.rows] == [None, None, f"{runs[1]}: b"]


def test_what_cannot_be_compared_is_listed(tmp_path):
    """Catches one damaged folder that ends the rest, and one that is passed over in silence."""
    sweep = make_sweep(tmp_path / "sweep", ONE, unfinished=["mamba"])
    good = make_run(tmp_path / "good", 0.9, 0.85, 0.93)
    empty, damaged, unfinished = (tmp_path / name for name in ("empty", "damaged", "unfinished"))
    empty.mkdir()
    make_run(damaged, 0.5, 0.4, 0.6)
    (damaged / "summary.json").write_text("{")
    make_run(unfinished, None, None, None)
    found = comparison.compare([empty, damaged, sweep, unfinished, good])
    reasons = {name.rpartition("/")[2]: reason for name, reason in found.left_out.items()}
    assert reasons.keys() == {"empty", "damaged", "001_mamba_width_16", "unfinished"}
    assert "holds no run" in reasons["empty"]
    assert "damaged" in reasons["damaged"]
    assert reasons["001_mamba_width_16"] == "not finished (failed)"
    assert "not finished" in reasons["unfinished"]
    assert len(rows_of(found, "accuracy")) == 2
    comparison.write(found, tmp_path / "out")
    assert list(pd.read_csv(tmp_path / "out" / "comparison.csv")) == list(comparison.COLUMNS)
    assert len(pd.read_csv(tmp_path / "out" / "left_out.csv")) == 4


def test_a_page_has_the_differences(tmp_path):
    """Catches numbers of a page that are not those of the table, tasks in one table of it, a name
    that becomes markup, and no word of what is left out."""
    first, second = (make_run(tmp_path / name, *ends) for name, ends in (
        ("a<b>", (0.9, 0.85, 0.93)), ("b", (0.7, 0.65, 0.75)))
    )  # fmt: skip
    (tmp_path / "empty").mkdir()
    found = comparison.compare([first, second, tmp_path / "empty"])
    comparison.write(found, tmp_path / "out")
    page = (tmp_path / "out" / "comparison.html").read_text()
    ((head, *rows),) = tables_of(page).values()
    names = [text for _, text in head]
    at = names.index("difference")
    told = [float(row[at][0]) for row in rows if row[at][0]]
    known = [row["difference"] for row in found.rows if row["difference"] is not None]
    assert told == known
    assert "a<b>" not in page
    assert "empty" in words_of(page)
    assert "holds no run" in words_of(page)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"floors": None}, "floors is None"),
        ({"floors": {}}, "floors lacks 'best'"),
        ({"accuracy_low": None}, "accuracy_low is None"),
        ({"accuracy_high": "x"}, "accuracy_high is 'x'"),
    ],
)
def test_a_damaged_summary_is_listed(tmp_path, changes, reason):
    """Catches a summary that is JSON, and not one of a run, with a traceback."""
    runs = [make_run(tmp_path / name, 0.9, 0.85, 0.93) for name in "ab"]
    runs.append(make_run(tmp_path / "c", 0.9, 0.85, 0.93, **changes))
    found = comparison.compare(runs)
    assert list(found.left_out) == [str(runs[2])]
    assert reason in found.left_out[str(runs[2])]
    assert len(found.rows) == 2


def test_damaged_evidence_costs_the_concentration_alone(tmp_path):
    """Catches an attribution without a direction that ends all, or takes the accuracy with it."""
    row = {"site": "block_1/block_input", "role": "value", "value": 0.9, "low": 0.8, "high": 1.0}
    evidence = {"attributions": [row | {"kind": "stream", "single": True}]}
    runs = [make_run(tmp_path / name, 0.9, 0.85, 0.93, evidence=evidence) for name in "ab"]
    found = comparison.compare(runs)
    assert [row["metric"] for row in found.rows] == ["accuracy", "accuracy"]
    assert list(found.left_out) == [f"{run}: concentration of {run.name}" for run in runs]
    assert all("lacks 'direction'" in reason for reason in found.left_out.values())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is damaged: it is empty"),
        ("x\n1\n", "lacks the column"),
        (None, "is damaged: Unable to parse"),
    ],
)
def test_a_damaged_table_of_a_group_is_listed(tmp_path, text, reason):
    """Catches a word among numbers with a traceback, and damage told as work that is not done."""
    sweep, good = make_sweep(tmp_path / "sweep", ONE), make_run(tmp_path / "good", 0.9, 0.8, 0.95)
    table = sweep / "groups" / sweep_results.ATTENTION / "members.csv"
    table.write_text(table.read_text().replace("0.25", "word") if text is None else text)
    found = comparison.compare([sweep, good])
    (name,) = found.left_out
    assert name == f"{sweep}/{sweep_results.ATTENTION}"
    assert reason in found.left_out[name]
    assert len(rows_of(found, "accuracy")) == 2


def test_tables_for_readers_stand_beside(tmp_path):
    """Catches tables for machines alone."""
    runs = [
        make_run(tmp_path / name, low + 0.05, low, 0.95) for name, low in (("a", 0.85), ("b", 0.6))
    ]
    found = comparison.compare([*runs, tmp_path / "nothing"])
    comparison.write(found, tmp_path / "out")
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "90.0% \\[85.0%, 95.0%\\]" in text
    assert "holds no run" in (tmp_path / "out" / "left_out.md").read_text()
    for name in ("comparison", "left_out"):
        assert r"\begin{table}" in (tmp_path / "out" / f"{name}.tex").read_text()


def test_the_program(tmp_path):
    """Catches a program that does not fit the functions, and mistakes with a traceback."""
    first = make_run(tmp_path / "a", 0.9, 0.85, 0.93)
    second = make_run(tmp_path / "b", 0.7, 0.65, 0.75, {"model.width": 8})
    done = forked.start(["-m", "launch.compare", str(first), str(second)])
    assert done.returncode == 0, done.stderr
    assert "-20.0% [" in done.stdout
    for words, message in (
        ([str(first)], "one folder is no comparison"),
        ([str(first), str(tmp_path)], "1 finished runs are no comparison"),
    ):
        done = forked.start(["-m", "launch.compare", *words])
        assert done.returncode == 2, done.stderr
        assert message in done.stderr


def test_a_verdict_of_another_step_is_not_the_runs(tmp_path):
    """Catches the verdict of an early checkpoint beside the accuracy of the last, and a run that
    has an accuracy before its training has come to its end."""
    judged = {"verdict": "induction", "probabilities": {"induction": 0.99}}
    early = {"evidence_step": 10, "evidence_split": "test"}
    first = make_run(tmp_path / "a", 0.9, 0.85, 0.93, **judged, **early | {"evidence_step": 20})
    second = make_run(tmp_path / "b", 0.7, 0.65, 0.75, **judged, **early)
    third = make_run(tmp_path / "c", 0.7, 0.65, 0.75, **judged, **early, finished=False)
    found = comparison.compare([first, second, third])
    assert [row["verdict"] for row in rows_of(found, "accuracy")] == ["induction", None]
    assert found.left_out[f"{second}: verdict of b"].startswith("it is of step 10 on test")
    assert "not finished" in found.left_out[str(third)]


def test_intervals_of_one_confidence_are_compared(tmp_path):
    """Catches a difference of intervals that hold different shares."""
    first = make_run(tmp_path / "a", 0.9, 0.85, 0.93)
    second = make_run(tmp_path / "b", 0.7, 0.6, 0.8, {"evaluation.confidence": 0.99})
    with pytest.raises(UserError, match=r"evaluation\.confidence is 0\.95 in .*, 0\.99 in "):
        comparison.compare([first, second])
