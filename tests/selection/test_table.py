"""The table of a choice, from the files of a sweep."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.selection import table as tables
from mecheval_jax.store import choice
from mecheval_jax.store.choice import ChoiceFolder
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.sweeps.plan import plan_of
from tests.support import sweep_results

BEST = {"attention": 5, "based": 11}
"""Members that answer dev documents best."""

EVIDENCE = [
    {"kind": "stream", "site": "block_1/block_input", "direction": "restore", "role": "value"}
    | {"single": True, "value": 0.9, "low": 0.8, "high": 0.95}
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder, and its table at 16 tokens; Mamba's group is not finished."""
    path = tmp_path_factory.mktemp("choice") / "sweep"
    folder = ChoiceFolder(
        sweep_results.make_sweep(path, sweep_results.ACCURACIES, unfinished=["mamba"]).path
    )
    flat = [one for of in sweep_results.ACCURACIES.values() for one in of.values()]
    sweep_results.fill_members(folder, dict(enumerate(flat)))
    for member in BEST.values():
        (summary,) = path.glob(f"groups/*/members/{member:04d}/summary.json")
        values = json.loads(summary.read_text()) | {
            "evidence": {"attributions": EVIDENCE},
            "circuit": {"edges": 4, "of": 15, "faithfulness": 0.92},
        }
        summary.write_text(json.dumps(values | {"floors": {"first": 0.25, "best": 0.25}}))
    folder.cost.path.mkdir()
    cost = {"model": "attention", "mixer": "attention", "width": 16, "layers": 2}
    cost |= {"flops_per_token": 1e4, "bytes_per_token": 1e4, "seconds_per_token": 5e-4}
    cost |= {"state_bytes": 512, "tokens_per_second": 2000.0}
    cost |= dict.fromkeys(("temporary_bytes", "joules_per_token", "reason"))
    cost |= {"seconds": 0.064, "low": 0.032, "high": 0.128}  # 128 tokens, 8 documents
    rows = [cost | {"length": length, "program": "prefill"} for length in (16, 64)]
    rows += [cost | {"length": 16, "program": "training"}]
    rows += [cost | {"length": 16, "program": "decode", "seconds": None}]
    pd.DataFrame(rows).to_csv(folder.cost.costs, index=False)
    table = tables.choice_table(folder, plan_of(folder.read(), folder.sweep).groups, 16)
    return folder, table.set_index("mixer")


def test_answers_are_those_of_the_best_run(made):
    """Catches the mean of all rates, a rate chosen on the documents that judge, lost seeds."""
    row = made[1].loc["attention"]
    assert (row["member"], row["learning_rate"], row["seed"]) == (5, 1e-2, 2)
    assert (row["accuracy"], row["low"], row["high"]) == (0.995, pytest.approx(0.895), 1.0)
    assert (row["state"], row["runs"], row["members"], row["learned"]) == ("learned", 6, 3, 2)
    assert row["lowest"] == 0.18
    assert row["mean"] == pytest.approx((0.93 + 0.18 + 0.995) / 3)
    assert (row["floor"], row["floor_name"]) == (0.25, "first")
    assert not row["memorised"]
    run = made[0].group(row["group"]).member(5)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    peak = max(one["accuracy"] for one in rows if one["split"] == "dev")
    assert (row["dev_peak"], bool(row["past_peak"])) == (peak, False)


def test_the_course_of_a_training(tmp_path):
    """Catches the first accuracy, or the last one, told as that half-way."""
    run = RunFolder(tmp_path)
    assert tables.dev_course(run, 256) == {"past_peak": False}
    numbers = {10: 0.1, 20: 0.7, 30: 0.6, 40: 0.5, 50: 0.4}
    rows = [{"step": step, "split": "dev", "accuracy": x} for step, x in numbers.items()]
    run.metrics.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert tables.dev_course(run, 256) == {
        "dev_peak": 0.7,
        "dev_halfway": 0.7,
        "past_peak": True,
    }
    run.metrics.write_text(f"{json.dumps(rows[0])}\n")
    assert tables.dev_course(run, 256) == {"dev_peak": 0.1, "past_peak": False}


def test_a_verdict_on_other_documents_does_not_count(made, tmp_path, capsys):
    """Catches a verdict that launch.intervene gave on train documents, in a table of test ones."""
    shutil.copytree(made[0].path, tmp_path / "copy")
    folder = ChoiceFolder(tmp_path / "copy")
    (summary,) = folder.path.glob(f"groups/*/members/{BEST['attention']:04d}/summary.json")
    values = json.loads(summary.read_text()) | {"evidence_step": 1, "evidence_split": "train"}
    summary.write_text(json.dumps(values | {"verdict": "mixed", "probabilities": {"mixed": 1.0}}))
    plans = plan_of(folder.read(), folder.sweep).groups
    row = tables.choice_table(folder, plans, 16).set_index("mixer").loc["attention"]
    assert (row["verdict"], row["agreement"]) == ("induction", 1.0)
    assert pd.isna(row["member_verdict"])
    assert np.isnan(row["concentration"])
    assert "it is of step 1 on train documents" in "".join(capsys.readouterr())


def test_groups_that_are_not_finished_are_there(made):
    """Catches a shape that is missing from the table without a word."""
    row = made[1].loc["mamba"]
    assert row["state"] == choice.UNFINISHED
    assert row["width"] == 16
    assert row["parameters"] > 0
    assert np.isnan(row["accuracy"])


def test_transparency(made):
    """Catches numbers of another run than the one that is chosen."""
    row = made[1].loc["attention"]
    assert (row["verdict"], row["agreement"], row["probability"]) == ("induction", 1.0, 0.9)
    assert row["member_verdict"] == "induction"
    assert (row["judged"], row["learned"]) == (2, 2)
    assert (row["concentration"], row["concentration_role"]) == (0.9, "value")
    assert (row["circuit_edges"], row["edges"], row["faithfulness"]) == (4, 15, 0.92)


@pytest.mark.parametrize(
    "damage",
    [{"tokens_per_second": 0.0}, {"seconds": 0.0}, {"program": "training of another version"}],
)
def test_strange_costs_are_passed_over(damage, made):
    """Catches a traceback after all training for a cell that cannot be."""
    folder, _ = made
    plans = plan_of(folder.read(), folder.sweep).groups
    (plan,) = (one for one in plans if "attention" in one.name)
    found = tables.cost_of(folder.cost.read_costs().assign(**damage), plan, 16)
    assert found == {"length": 16, "state_bytes": 512}


def test_costs(made):
    """Catches a call's time told as a document's or a token's, and another length's."""
    row = made[1].loc["attention"]
    assert row["prefill_seconds"] == pytest.approx(0.064 / 8)
    assert row["prefill_seconds_high"] == pytest.approx(0.128 / 8)
    assert row["training_seconds"] == pytest.approx(0.064 / 128)
    assert row["training_tokens_per_second"] == 2000
    assert np.isnan(row["decode_seconds"])
    assert row["state_bytes"] == 512
    assert np.isnan(made[1].loc["based", "prefill_seconds"])


def test_the_table_is_written_and_read(made):
    """Catches columns that are not those of the store."""
    folder, table = made
    folder.write_choice(table.reset_index())
    assert list(folder.read_choice()["mixer"]) == ["attention", "mamba", "based"]


def test_memorising(made, monkeypatch):
    """Catches a model that has seen every answer taken for one that can answer."""
    row = made[1].loc["based"]  # 1.0 on its last train documents, 0.81 on others
    assert (row["train_accuracy"], row["accuracy"]) == (1.0, 0.81)
    assert row["memorised"] == (tables.MEMORISED <= 1.0 - 0.81) == False  # noqa: E712
    folder = made[0]
    monkeypatch.setattr(tables, "MEMORISED", 0.1)
    table = tables.choice_table(folder, plan_of(folder.read(), folder.sweep).groups, 16)
    assert bool(table.set_index("mixer").loc["based", "memorised"]) is True


@pytest.mark.parametrize(
    ("peak", "last", "documents", "fell"),
    [
        (0.9, 0.7, 256, True),
        (0.9, 0.7, 20, False),  # four answers
        (0.62, 0.56, 256, False),  # the highest of many is high by luck
        (0.9, 0.9, 256, False),
    ],
)
def test_a_peak_is_passed_where_that_is_certain(peak, last, documents, fell):
    """Catches noise of few dev documents told as a training that went on for too long."""
    assert tables.is_past_peak(peak, last, documents) == fell


def test_fronts():
    """Catches ties thrown off a front, and rows without a number put on one."""
    goods = np.array([[0.9, -1.0], [0.9, -1.0], [0.8, -2.0], [0.7, -0.5], [np.nan, 0.0]])
    assert list(tables.on_front(goods)) == [True, True, False, True, False]


def test_only_shapes_that_have_learned_are_on_a_front(made):
    """Catches a cheap model that cannot do the task called a good compromise."""
    table = made[1]
    assert table.loc["attention", "front_prefill"]
    assert not table.loc[["mamba", "based"], "front_prefill"].any()
    assert table.loc["attention", "front_concentration"]
    assert not table.loc["mamba", "front_concentration"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("members.csv", "member\n3\n"),
        ("members.csv", "\0"),
        ("members/0005/summary.json", "{"),
        ("members/0004/summary.json", "[]"),
        ("members/0005/summary.json", {"evidence": {"attributions": [{"site": "a", "role": "b"}]}}),
        ("members/0005/summary.json", {"circuit": {"edges": 4}}),
        ("members/0005/metrics.jsonl", '{"split": "train"}\n{}\n'),
    ],
)
def test_a_damaged_file_ends_no_choice(made, tmp_path, name, content, capsys):
    """Catches a choice of many hours that ends at one file of one run."""
    folder, table = made
    shutil.copytree(folder.path, tmp_path / "copy")
    folder = ChoiceFolder(tmp_path / "copy")
    (group,) = (one for one in folder.groups() if "attention" in one.name)
    path = group.path / name
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_text()) | content)
    path.write_text(content)
    plans = plan_of(folder.read(), folder.sweep).groups
    found = tables.choice_table(folder, plans, 16).set_index("mixer")
    row = found.loc["attention"]
    assert (row["state"], row["runs"]) == (choice.UNFINISHED, 6)
    assert row["parameters"] > 0
    assert np.isnan(row["accuracy"])
    assert row["state_bytes"] == 512
    assert found.loc["based", "accuracy"] == table.loc["based", "accuracy"]
    said = capsys.readouterr()
    assert f"left out: {group.name}: {group.path / name} is damaged" in said.out + said.err
