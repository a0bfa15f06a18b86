"""The rule by which an architecture is recommended, on made-up tables."""

import dataclasses
import json

import pytest

from mecheval_jax.selection.advice import advise, is_told_apart
from mecheval_jax.selection.request import Asked, Commands
from mecheval_jax.store.choice import ABSTAINED, RECOMMENDED
from tests.support import choice_tables

GIVEN = ("--documents=F", "--budget=20m", "--workdir=DIR")
ASKED = Asked(Commands(GIVEN, "DIR"), "prefill", (3e-3, 1e-3), 3, 1500)


def advice_on(asked=ASKED, **shapes):
    found = advise(choice_tables.table(**shapes), asked)
    json.dumps(dataclasses.asdict(found), allow_nan=False)  # as `advice.json` has to hold it
    return found


def text_of(advice):
    return " ".join(paragraph.text for paragraph in advice.paragraphs)


def why_of(advice):
    return {run.why: run.command for run in advice.further_runs}


def test_the_best_is_taken_where_no_other_is_as_good():
    """Catches a choice by cost among models that are not equally good."""
    better = {"accuracy": 0.99, "low": 0.985, "high": 0.995}
    worse = {"accuracy": 0.90, "low": 0.87, "high": 0.92, "prefill_seconds": 1e-4}
    found = advice_on(based=better, mamba=worse)
    assert found.state == RECOMMENDED
    assert found.model == {
        "group": "000_based_width_64",
        "mixer": "based",
        "width": 64,
        "learning_rate": 1e-3,
        "member": 0,
    }
    assert "99.0% [98.5%, 99.5%]" in text_of(found)
    assert "Learned, and less accurate: mamba of width 64 (90.0% [87.0%, 92.0%])." in text_of(found)


def test_the_best_of_poor_ones_is_told_to_be_poor():
    """Catches "take" said of a model that is wrong more often than not, as if it were good."""
    found = advice_on(based={"accuracy": 0.39, "low": 0.36, "high": 0.42})
    assert found.state == RECOMMENDED
    assert "wrong in 61.0% of the questions" in text_of(found)
    (command,) = (command for why, command in why_of(found).items() if "wider" in why)
    assert "DIR_wider --mixer=based --widths=128 --learning_rates=0.001" in command
    good = advice_on(based={})
    assert "wrong in" not in text_of(good)
    assert not [why for why in why_of(good) if "wider" in why]


def test_of_equally_good_ones_the_cheapest_is_taken():
    """Catches the highest number taken where it says nothing, and a cost other than asked for."""
    shapes = {
        "attention": {"accuracy": 0.985},
        "based": {"prefill_seconds": 1e-3, "prefill_seconds_high": 1.1e-3, "state_bytes": 9999},
    }
    found = advice_on(**shapes)
    assert found.model["mixer"] == "based"
    (cost,) = (one for one in found.paragraphs if one.topic == "cost")
    assert cost.numbers["ratio"] == pytest.approx(2)
    assert "2.00 times as much." in cost.text
    assert "cannot be told from none" in text_of(found)
    by_state = dataclasses.replace(ASKED, cheapest="state")
    assert advice_on(by_state, **shapes).model["mixer"] == "attention"


def test_no_other_of_the_same_accuracy_is_called_better():
    """Catches "0.0% more" said of a model that is only dearer."""
    text = text_of(advice_on(attention={}, based={"prefill_seconds": 1e-3}))
    assert "has the highest accuracy" not in text
    assert "As good as the best, too, as far as can be told: attention of width 64." in text
    costs_the_same = advice_on(attention={"accuracy": 0.97}, based={})
    assert costs_the_same.model["mixer"] == "based"


def test_times_that_overlap_are_said_to():
    """Catches a difference of costs that is noise and is told as a fact."""
    cheaper = {"prefill_seconds": 1.95e-3, "prefill_seconds_high": 2.0e-3}
    (answer, *_) = advice_on(attention={}, based=cheaper).paragraphs
    assert "cheaper than attention of width 64 is not certain: their measured times overlap." in (
        answer.text
    )
    # Not the next one alone: the third was measured more roughly.
    third = {"prefill_seconds": 5e-3, "prefill_seconds_low": 1.5e-3}
    (answer, *_) = advice_on(
        attention={"prefill_seconds_low": 2.05e-3}, based=cheaper, h3=third
    ).paragraphs
    assert "cheaper than h3 of width 64 is not certain" in answer.text
    # What is counted and not measured has no interval.
    by_state = dataclasses.replace(ASKED, cheapest="state")
    assert "overlap" not in text_of(advice_on(by_state, attention={}, based={"state_bytes": 9}))


def test_an_unknown_cost_comes_after_known_ones():
    """Catches a model without recurrent form taken for the cheapest."""
    by_decode = dataclasses.replace(ASKED, cheapest="decode")
    shapes = {"hyena": {"decode_seconds": None, "parameters": 1}, "based": {}}
    assert advice_on(by_decode, **shapes).model["mixer"] == "based"
    nothing = {name: {**one, "decode_seconds": None} for name, one in shapes.items()}
    found = advice_on(by_decode, **nothing)
    assert found.model["mixer"] == "hyena"
    assert "fewest parameters" in text_of(found)


def test_one_alone_is_not_held_against_others():
    """Catches "nor of any as good" where there is no other."""
    text = text_of(advice_on(based={"prefill_seconds": None}))
    assert "What it costs (prefill) was not measured. " in f"{text} "
    assert "any as good" not in text


def test_what_costs_the_same_is_not_cheaper():
    """Catches "the cheapest", and a next one that costs 1.00 times as much."""
    by_state = dataclasses.replace(ASKED, cheapest="state")
    text = text_of(advice_on(by_state, based={}, mamba={}))
    assert "None of the 2 that are equally good is cheaper by what was asked for (state); " in text
    assert "mamba of width 64 costs the same." in text
    assert "times as much" not in text
    nothing = advice_on(by_state, based={"state_bytes": 0}, mamba={"state_bytes": 0})
    assert "costs the same" in text_of(nothing)


def test_what_costs_nothing_has_no_ratio():
    """Catches a traceback after all was trained: a division by the cost of the cheapest."""
    by_state = dataclasses.replace(ASKED, cheapest="state")
    found = advice_on(by_state, based={"state_bytes": 0}, mamba={"state_bytes": 512})
    assert "mamba of width 64, costs more than the nothing that it costs." in text_of(found)
    cost = next(each for each in found.paragraphs if each.topic == "cost")
    assert (cost.numbers["next_cost"], cost.numbers["ratio"]) == (512, None)


def test_nothing_is_recommended_that_does_not_beat_the_floors():
    """Catches the least bad model recommended."""
    found = advice_on(attention=choice_tables.LOST, based=choice_tables.LOST | {"accuracy": 0.24})
    assert (found.state, found.model) == (ABSTAINED, None)
    assert "nearest is based of width 64" in text_of(found)
    assert len(found.further_runs) == 2  # for longer, and at other rates


def test_nothing_is_recommended_while_nothing_is_finished():
    """Catches advice on half a table."""
    found = advice_on(attention=choice_tables.UNFINISHED)
    assert (found.state, found.model) == (ABSTAINED, None)
    assert "no model is finished (attention of width 64)" in text_of(found)
    (command,) = why_of(found).values()
    assert command.endswith("--documents=F --budget=20m --workdir=DIR")


def test_one_that_learns_by_luck_comes_after_reliable_ones():
    """Catches a model recommended for its best seed."""
    lucky = {"learned": 1, "accuracy": 1.0, "low": 0.99, "high": 1.0, "lowest": 0.2}
    passed_over = advice_on(mamba=lucky, based={})
    assert passed_over.model["mixer"] == "based"
    assert "not counted on: mamba of width 64 (100.0% [99.0%, 100.0%], and 1 of 3 runs)" in (
        text_of(passed_over)
    )
    (command,) = (run for why, run in why_of(passed_over).items() if why.startswith("more seeds"))
    assert "--mixer=mamba" in command
    alone = advice_on(mamba=lucky, based=choice_tables.LOST)
    assert alone.model["mixer"] == "mamba"
    assert "1 of its 3 runs have learned (accuracies from 20.0%)" in text_of(alone)
    assert "more seeds say how often training succeeds" in why_of(alone)


def test_memorising_is_told_apart_from_failing():
    """Catches more learning rates advised where more documents are needed."""
    asked = dataclasses.replace(ASKED, documents=2100, epochs=45.7)
    found = advice_on(asked, based={}, mamba=choice_tables.MEMORISED, hyena=choice_tables.LOST)
    text = text_of(found)
    assert (
        "mamba of width 64 (97.0% of the questions in train documents, 20.0% in others) has "
        "learned its train documents by heart and does not recall in others. Give it more than "
        "these 2,100 train documents."
    ) in text
    assert "hyena of width 64 (20.0% [15.0%, 26.0%], on train documents 20.0%)" in text
    (command,) = (command for why, command in why_of(found).items() if "other learning" in why)
    assert "--mixer=hyena --widths" in command


def test_fewer_steps_are_advised_where_a_training_is_past_its_peak_alone():
    """Catches fewer steps advised to a model that more of them would teach, and "it" of two."""
    asked = dataclasses.replace(ASKED, documents=407, epochs=63.0)
    past = choice_tables.MEMORISED | {"dev_peak": 0.7, "dev_accuracy": 0.2, "past_peak": True}
    text = text_of(advice_on(asked, mamba=choice_tables.MEMORISED, based=choice_tables.MEMORISED))
    assert "have learned their train documents by heart and do not recall in others. Give" in text
    assert "Give them more than these 407 train documents. More than these 1,500 steps (63" in text
    assert "Fewer steps" not in text
    assert "still rose: mamba of width 64 had 60.0% half-way and 98.0% at the end and based" in text
    text = text_of(advice_on(asked, mamba=past))
    assert "Fewer steps may help mamba of width 64, whose accuracy" in text
    assert "has fallen from 70.0% to 20.0%." in text
    assert "More than these 1,500 steps" not in text


def test_what_recalls_is_not_said_to_recall_nothing():
    """Catches "does not recall" of a model that answers above the floor, by heart or not."""
    both = {"memorised": True, "accuracy": 0.69, "low": 0.66, "high": 0.72}
    text = text_of(advice_on(based=both))
    assert "by heart and recalls less in others. Give it more train documents." in text


def test_what_is_uncertain_is_said():
    """Catches one seed, or a verdict that abstains, passed over in silence."""
    once = {"members": 1, "learned": 1, "verdict": "undecided", "probability": 0.6}
    text = text_of(advice_on(based=once, mamba=choice_tables.UNFINISHED))
    assert "one run was made of it" in text
    assert "its mechanism is not settled" in text
    assert "not finished: mamba of width 64" in text
    assert "uncertain" not in {one.topic for one in advice_on(based={}).paragraphs}
    # A row without numbers turns the counts of the others into floats.
    some = {"members": 3, "learned": 2, "lowest": 0.4}
    few = advice_on(based=some, mamba={"members": 3, "learned": 1}, h3=choice_tables.UNFINISHED)
    assert "2 of its 3 runs have learned" in text_of(few)
    assert ", and 1 of 3 runs)" in text_of(few)


def test_a_split_verdict_and_an_unknown_price_are_uncertain():
    """Catches runs that do not agree, and an equal whose cost nobody has measured."""
    split = {"agreement": 0.34, "probability": 0.99}
    found = advice_on(based=split, mamba={"prefill_seconds": None, "prefill_seconds_low": None})
    assert "only 34% of its runs that were judged have this mechanism" in text_of(found)
    assert "was not measured of mamba of width 64, which is as good" in text_of(found)
    unknown = {"prefill_seconds": None, "prefill_seconds_low": None}
    dearer = {"prefill_seconds": 3e-3}
    three = text_of(advice_on(based={}, h3=dearer, mamba=unknown))
    assert "the cheapest of the 2 that are equally good and were measured, by" in three


def test_answers_above_the_floor_that_depend_on_nothing():
    """Catches a model said to be below a floor that it is above, and a reason that may be wrong."""
    above = choice_tables.LOST | {"accuracy": 0.347, "low": 0.317, "high": 0.374, "floor": 0.289}
    text = text_of(advice_on(attention=above))
    assert "of none is it certain enough (99.9 %) that it answers more" in text
    assert "none answers better" not in text


def test_documents_without_pairs_have_advice_without_a_mechanism():
    """Catches a table without verdicts that cannot be advised on."""
    found = advice_on(based=dict.fromkeys(choice_tables.choice.TRANSPARENCY))
    assert "mechanism" not in {one.topic for one in found.paragraphs}


def test_numbers_are_those_of_the_table():
    """Catches a sentence that rests on another number than the table's."""
    found = advice_on(based={})
    numbers = {k: v for one in found.paragraphs for k, v in one.numbers.items()}
    row = choice_tables.table(based={}).iloc[0]
    for name in ("accuracy", "low", "floor", "prefill_seconds", "concentration", "circuit_edges"):
        assert numbers[name] == row[name]


def test_a_row_is_not_told_apart_from_itself():
    """Catches the best left out of its equals, for an interval without width."""
    row = {"accuracy": 1.0, "low": 1.0, "high": 1.0}
    assert not is_told_apart(row, row)
    assert is_told_apart(row, {"accuracy": 0.9, "low": 0.85, "high": 0.95})
