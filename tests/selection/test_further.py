"""The commands of further runs, on made-up tables."""

import dataclasses
import shlex

import pytest

from mecheval_jax.selection.further import further_runs
from mecheval_jax.selection.request import Asked, Commands
from tests.support import choice_tables

ASKED = Asked(
    Commands(("--documents=F", "--budget=20m", "--steps=400", "--workdir=DIR"), "DIR"),
    *("prefill", (3e-3, 1e-3), 3, 400),
)
ONCE = {"members": 1, "learned": 1}
DIVERGED = choice_tables.LOST | dict.fromkeys(("accuracy", "train_accuracy", "low", "high"))
PAST = choice_tables.MEMORISED | {"past_peak": True}


def rows_of(**shapes):
    table = choice_tables.table(**shapes)
    return table.astype(object).where(table.notna(), None).to_dict("records")


def commands_of(open_ones=(), poor=None, asked=ASKED, **shapes):
    """Commands by the last part of their folders' names, in their order."""
    rows = {row["mixer"]: row for row in rows_of(**shapes)}
    runs = further_runs([*rows.values()], [rows[name] for name in open_ones], rows.get(poor), asked)
    found = {}
    for run in runs:
        (workdir,) = (one for one in shlex.split(run.command) if one.startswith("--workdir="))
        found[workdir.rpartition("_")[2]] = run.command.partition("launch.choose ")[2]
    return found


def test_folders_are_their_own():
    """Catches two advised commands of which the second is refused in the first one's folder, and a
    workdir with a blank that is two words to a shell."""
    asked = dataclasses.replace(ASKED, commands=Commands((), "my choice"))
    found = commands_of(["based"], "based", asked, based=ONCE, hyena=choice_tables.LOST)
    assert [*found] == ["steps", "seeds", "rates", "wider"]
    assert all("'--workdir=my choice_" in command for command in found.values())


def test_what_learned_nothing_is_trained_for_longer_first():
    """Catches too few steps that are repeated at other learning rates, and nothing else offered."""
    found = commands_of(attention=choice_tables.LOST, based=choice_tables.LOST)
    assert found == {
        "steps": "--documents=F --workdir=DIR_steps --mixer=attention --mixer=based --widths=64 "
        "--learning_rates=0.001 --steps=1200",
        "rates": "--documents=F --steps=400 --workdir=DIR_rates --mixer=attention --mixer=based "
        "--widths=64 --learning_rates=0.00033,0.009",
    }
    assert [*found] == ["steps", "rates"]


@pytest.mark.parametrize(
    ("shape", "folders"),
    [
        (choice_tables.MEMORISED, ["steps"]),
        ({"memorised": True}, ["steps"]),
        (PAST, []),
        (DIVERGED, ["rates"]),
        ({}, []),
    ],
)
def test_who_may_need_more_steps(shape, folders):
    """Catches a model that memorises without a command, and more steps for one that got worse with
    them, or whose loss was not finite."""
    assert [*commands_of(based=shape)] == folders


def test_a_poor_recommendation_is_trained_for_longer_and_wider():
    """Catches a wider model as the only thing to try where too few steps were the reason."""
    found = commands_of((), "based", based={"accuracy": 0.5}, hyena={})
    assert found == {
        "steps": "--documents=F --workdir=DIR_steps --mixer=based --widths=64 "
        "--learning_rates=0.001 --steps=1200",
        "wider": "--documents=F --steps=400 --workdir=DIR_wider --mixer=based --widths=128 "
        "--learning_rates=0.001",
    }


def test_more_seeds_are_asked_of_those_in_question():
    """Catches a command that trains again what is settled, or that a budget cuts to one seed."""
    assert commands_of(["based"], based=ONCE, mamba={}) == {
        "seeds": "--documents=F --steps=400 --workdir=DIR_seeds --mixer=based --widths=64 "
        "--learning_rates=0.001 --seeds=5"
    }
    equals = commands_of(["attention", "based"], attention={}, based={})
    assert "--mixer=attention --mixer=based" in equals["seeds"]
    assert commands_of(["based"], based={}) == {}
