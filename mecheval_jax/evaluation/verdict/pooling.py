"""One verdict on several runs, which are draws from one population and differ in seeds alone.

Runs that have learned the task are pooled. Intervals resample runs and documents, crossed if all
runs are on the same documents, and know of those that only some of them share
(`statistics.bootstrap`). The number of resamples and the confidence are in the configs of the runs.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.verdict.evidence import Evidence
from mecheval_jax.evaluation.verdict.rule import NOT_LEARNED, UNDECIDED, label
from mecheval_jax.evaluation.verdict.verdict import Verdict, judge
from mecheval_jax.experiment import Experiment, difference_words

SEEDS = ("training.seed", "training.data_seed")
"""Fields in which runs of one population may differ."""


def check_population(experiments: Mapping[str, Experiment]) -> None:
    """Check that several runs are draws from one population.

    Args:
        experiments: Experiment of each run, by its name.

    Raises:
        UserError: If there are fewer than two, if configs differ in more than seeds (options of
            analyses do not count), or if two runs have the same seeds.
    """
    if len(experiments) < 2:
        raise UserError("one run is no population: give the workdirs of two runs or more")
    first, known = next(iter(experiments)), {}
    for name, experiment in experiments.items():
        places, may_differ = (f"in {first}", f"in {name}"), (*SEEDS, "analyses.")
        different = difference_words(experiments[first], experiment, places, may_differ)
        if different:
            raise UserError(
                f"runs that differ in more than their seeds are no population "
                f"({'; '.join(different)})"
            )
        seeds = (experiment.training.seed, experiment.training.data_seed)
        if seeds in known:
            raise UserError(
                f"{known[seeds]} and {name} have the same seeds ({seeds[0]}, data {seeds[1]}): "
                "a copy is not another run"
            )
        known[seeds] = name


def check_measured_alike(summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that the verdicts of several runs were measured at comparable steps, on one split.

    Args:
        summaries: Summary of each run, by its name; what an older one does not say is not checked.

    Raises:
        UserError: If they are not all of the end of their run, nor all of one step, or splits
            differ.
    """
    known = {name: one for name, one in summaries.items() if "evidence_step" in one}
    steps = {name: one["evidence_step"] for name, one in known.items()}
    at_the_end = all(summaries[name].get("step") == step for name, step in steps.items())
    if len(set(steps.values())) > 1 and not at_the_end:
        listed = ", ".join(f"{name} at step {step}" for name, step in steps.items())
        raise UserError(
            f"the verdicts are of different times of training ({listed}): measure all at the end "
            "of their run, or all at one step"
        )
    splits = {name: one.get("evidence_split") for name, one in summaries.items()}
    if len({*splits.values()} - {None}) > 1:
        listed = ", ".join(f"{name} on {split}" for name, split in splits.items())
        raise UserError(f"the verdicts are of different documents ({listed}): measure all on one")


def judge_together(
    found: Mapping[str, Evidence], evaluation: EvaluationConfig
) -> tuple[Verdict, dict[str, Verdict]]:
    """The verdict on the runs of one population that have learned the task.

    Evidence of several runs is of their mean, which no single run may have: two runs of different
    pure mechanisms have a mean with both routes. Where runs surely differ the verdict abstains.

    Args:
        found: Evidence of each run, by its name.
        evaluation: Options of the evaluation, which all configs share.

    Returns:
        The verdict on those that have learned, and that on each run by its name.

    Raises:
        UserError: If fewer than two have learned, or the evidence is of different places or of
            different numbers of documents.
    """
    Evidence.pool(list(found.values()))  # checks all runs, those that are left out included
    # Some documents would be shared and others not, which is neither crossed nor independent.
    sizes = {name: int((one.documents + one.left_out).sum()) for name, one in found.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} on {size}" for name, size in sizes.items())
        raise UserError(
            f"the verdicts are of different numbers of documents ({listed}): measure all on as many"
        )
    each = {name: judge(one, evaluation) for name, one in found.items()}
    those = [name for name, one in each.items() if one.verdict != NOT_LEARNED]
    if len(those) < 2:
        raise UserError(
            f"of {len(found)} runs those that have learned the task are: "
            f"{', '.join(those) or 'none'}; a verdict on several together needs two that have"
        )
    together = judge(Evidence.pool([found[name] for name in those]), evaluation)
    return _of_runs_that_agree(together, {name: each[name] for name in those}), each


def _of_runs_that_agree(together: Verdict, each: Mapping[str, Verdict]) -> Verdict:
    """The verdict on a mean of runs, if no two runs have verdicts of their own that differ."""
    sure = {name: one for name, one in each.items() if one.verdict != UNDECIDED}
    if len({one.verdict for one in sure.values()}) > 1:
        listed = ", ".join(f"{name} {label(one.verdict, one.layer)}" for name, one in sure.items())
        reason = f"runs differ: {listed} (their mean would be called {together.verdict})"
        return dataclasses.replace(
            together, verdict=UNDECIDED, layer=None, binding=None, reason=reason, elsewhere=None
        )
    if len({one.layer for one in sure.values()}) > 1:
        return dataclasses.replace(together, layer=None)
    return together
