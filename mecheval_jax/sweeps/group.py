"""One group of a sweep, from its first step to the verdicts on its members; resumable anywhere."""

import dataclasses
import json
import shutil
from collections.abc import Mapping

import jax
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.command_line import cache_folder
from mecheval_jax.evaluation.behaviour import Answers, documents_of
from mecheval_jax.evaluation.findings import Inquiry
from mecheval_jax.experiment import Experiment
from mecheval_jax.partitioning.distributed import fetch, is_main
from mecheval_jax.partitioning.members import member_mesh, on_members, place
from mecheval_jax.reporting.progress import say
from mecheval_jax.reporting.record import Record, record_answers
from mecheval_jax.reporting.writers import JsonLines
from mecheval_jax.run_folder import RunFolder, read_json, write_json, write_text
from mecheval_jax.sweep_folder import GroupFolder, GroupStatus
from mecheval_jax.sweeps.plan import GroupPlan
from mecheval_jax.sweeps.results import member_rows, table_of
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.members import NEVER, Member, new_member
from mecheval_jax.training.preemption import Preempted, Preemption
from mecheval_jax.training.strategies import Choices, Strategy
from mecheval_jax.training.sweep import (
    Group,
    Programs,
    Standing,
    choose_strategy,
    fit_group,
    restored,
    saved_part,
    stack,
)

SITES = {"full": None, "verdict": (), "none": ()}
"""What is measured of every member: the grid and the verdict, the verdict alone, or answers."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a group is computed; nothing of it changes what is found but for rounding.

    Attributes:
        strategy: of `strategies.KINDS`; measured if None.
        at_once: members that a device computes together; by its memory if None.
        interventions: of `SITES`.
    """

    strategy: str | None = None
    at_once: int | None = None
    interventions: str = "full"


class _Hooks:
    """Writes what happens to the group's folder, and shows it."""

    def __init__(self, plan: GroupPlan, folder: GroupFolder, status: GroupStatus, show):
        self._plan, self._folder, self._show = plan, folder, show
        self.status = status
        self._writer = JsonLines(folder.metrics)

    def record(self, values: Mapping[str, float | int | str]) -> None:
        self._writer.write({**values, "member": self._plan.members[int(values["member"])]})
        if values["split"] == "dev":
            best = self.status.best_accuracy or 0.0
            self.status.best_accuracy = max(best, float(values["accuracy"]))

    def advance(self, standing: Standing) -> None:
        status = self.status
        status.step, status.training = standing.step, standing.training
        status.diverged = int((standing.diverged_at != NEVER).sum())
        status.stopped = int((standing.stopped_at != NEVER).sum())
        status.rate = standing.taken / max(standing.seconds, 1e-9)
        status.seconds += standing.seconds
        self.tell()

    def tell(self) -> None:
        """Write and show the status."""
        if is_main():
            self._folder.write_status(self.status)
            self._show(self._folder.name, self._plan.title, self.status)

    def say(self, message: str) -> None:
        say(f"{self._folder.name}: {message}")

    def close(self) -> None:
        self._writer.close()


def run_group(plan: GroupPlan, folder: GroupFolder, options: Options, show) -> None:
    """Train a group to its end and evaluate its members, on from wherever it stands.

    Args:
        plan: the group.
        folder: its files.
        options: how it is computed.
        show: (name, title, status) -> None, told of every stop.

    Raises:
        UserError: more members than the devices have memory for.
        Preempted: SIGTERM came; what was trained is saved.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    status = folder.read_status()
    status.state, status.error = "running", ""
    status.attempts += 1
    status.members = status.training = len(plan.members)
    status.steps = max(experiment.training.steps for experiment in plan.experiments)
    first = plan.experiments[0]
    if options.interventions != "none":
        first.check_interventions()
    group = Group(first.model, first.task, tuple(e.training for e in plan.experiments))
    checkpoints = Checkpoints(folder.checkpoints, group.training.keep_checkpoints or None)
    hooks = _Hooks(plan, folder, status, show)
    hooks.tell()
    try:
        programs = Programs(group, member_mesh())
        strategy = _strategy(programs, plan, folder, options, hooks.say)
        members = _restore_or_create(programs, checkpoints, folder, hooks)

        def save(step: int, members: Member) -> None:
            checkpoints.save(step, _without_padding(fetch(saved_part(members)), group))

        with Preemption() as preemption:
            members = fit_group(
                programs, strategy, members, fetch, save, lambda step: preemption.requested(), hooks
            )
            if preemption.requested():
                checkpoints.close()
                raise Preempted(status.step)
        _conclude(programs, plan, folder, members, options, hooks)
    except Preempted:
        status.state = "preempted"
        hooks.tell()
        raise
    finally:
        hooks.close()
        checkpoints.close()
    status.state = "finished"
    hooks.tell()


def _without_padding(tree: PyTree, group: Group) -> PyTree:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(group.runs)], tree)


def _strategy(programs: Programs, plan: GroupPlan, folder: GroupFolder, options, say) -> Strategy:
    """The strategy of the group: the one it began with, or a new choice.

    Another would change its numbers by rounding, so that a resumed sweep were not the same.
    """
    path = folder.path / "strategy.json"
    if path.exists():
        kept = Strategy(**read_json(path))
        say(f"members are computed by {kept}, as before")
        return kept
    device = jax.devices()[0]
    shape = dataclasses.replace(plan.experiments[0], training=programs.group.training)
    key = " ".join(
        (
            _shape_key(shape),
            f"{programs.on_each} members on each of {programs.mesh.size}",
            f"{device.platform} {device.device_kind}",
            f"jax {jax.__version__}",
        )
    )
    choices = Choices(cache_folder() / "strategies.json")
    chosen = choose_strategy(programs, choices, key, options.at_once, options.strategy, say)
    write_json(path, dataclasses.asdict(chosen))
    return chosen


def _shape_key(shape: Experiment) -> str:
    model = shape.model
    return f"{shape.fingerprint()} {model.mixer} width {model.width}"


def _restore_or_create(
    programs: Programs, checkpoints: Checkpoints, folder: GroupFolder, hooks: _Hooks
) -> Member:
    """The members of the newest checkpoint that can be read, or new ones."""
    members = programs.create()
    count = len(programs.group.runs)

    def on_host(leaf):
        return np.broadcast_to(np.zeros((), leaf.dtype), (count, *leaf.shape[1:]))

    saved = checkpoints.restore(jax.tree.map(on_host, saved_part(members)), hooks)
    step = 0
    if saved is not None:
        step = int(np.max(saved["step"]))
        members = restored(members, place(saved, programs.mesh))
        hooks.say(f"resuming at step {step}")
    run = RunFolder(folder.path)
    run.forget_after(step)
    dev = [row["accuracy"] for row in run.read_metrics() if row["split"] == "dev"]
    hooks.status.step, hooks.status.best_accuracy = step, max(dev, default=None)
    return members


def _conclude(
    programs: Programs,
    plan: GroupPlan,
    folder: GroupFolder,
    members: Member,
    options: Options,
    hooks: _Hooks,
) -> None:
    """Answers, interventions and verdicts of all members, computed as one program."""
    experiments, group = plan.experiments, programs.group
    intervening = options.interventions != "none"
    hooks.say(
        f"{'answers, interventions and verdicts' if intervening else 'answers'} of "
        f"{len(experiments)} members on {experiments[0].evaluation.documents} documents each"
    )
    first = {e.training.data_seed: e for e in experiments}
    batches = group.batches(lambda seed: documents_of(first[seed]))
    sites = SITES[options.interventions]
    asked = [
        Inquiry.of(experiment, batch, sites, verdict=intervening)
        for experiment, batch in zip(experiments, batches, strict=True)
    ]
    inquiry = asked[0][0]
    samples = place(stack([sample for _, sample in asked]), programs.mesh)
    model = group.model

    def one(member):
        state, sample = member
        untrained = new_member(model, state.hyperparameters).state.params
        return inquiry.on_device(state.params, untrained, sample)

    program = jax.jit(on_members(one, programs.mesh, at_once=1))
    raw = fetch(program((members.state, samples)))
    steps, diverged, stopped = fetch((members.state.step, members.diverged_at, members.stopped_at))
    if not is_main():
        return
    rows = []
    metrics = RunFolder(folder.path).read_metrics()
    for i, (number, experiment) in enumerate(zip(plan.members, experiments, strict=True)):
        run = RunFolder(folder.member(number))
        shutil.rmtree(run.path, ignore_errors=True)  # of an attempt that was broken off
        run.open(experiment)
        write_json(run.member, {"place": i, "of": len(experiments)})
        own = [
            {name: value for name, value in row.items() if name != "member"}
            for row in metrics
            if row["member"] == number
        ]
        write_text(run.metrics, "".join(f"{json.dumps(row)}\n" for row in own))
        sample = asked[i][1]
        found = jax.tree.map(lambda leaf, i=i: leaf[i], raw)
        step = int(steps[i])
        record_answers(run, experiment, step, Answers(*found["answers"]), sample.batch)
        ends = {"diverged_at": int(diverged[i]), "stopped_at": int(stopped[i])}
        run.update_summary(**{name: at for name, at in ends.items() if at != NEVER})
        if intervening:
            record = Record(run)
            record.add(experiment, step, inquiry.on_host(found, sample, experiment))
            record.write()
        rows += member_rows(number, folder.name, experiment, run.read_summary(), own)
    write_text(folder.table, table_of(rows).to_csv(index=False))
