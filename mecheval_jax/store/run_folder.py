"""The folder of one run: what was trained, where it came from, and what was found.

    config.json        the experiment
    provenance.json    versions, commit and device
    grammar.json       grammar of the documents, if the task has one
    metrics.jsonl      loss and accuracy over the steps
    metrics.csv        the same as a table
    checkpoints/       parameters and state of the optimizer, written by orbax
    member.json        for a member of a sweep in place of checkpoints: its place in the group's
    summary.json       accuracy and verdict
    example.json       the first of the evaluation documents in words, with its roles
    slices.csv         accuracy by length, distance, number of pairs, ...
    interchange.csv    the grid: how much of the answer each restored vector brings back
    controls.csv       the same where nothing should come back
    evidence.npz       document by document, the numbers that the verdict is computed from
    transitions.csv    changes of the verdict over the steps of training
    analyses/          tables of further analyses
    figures/           figures as SVG, PNG and PDF
    tables/            tables of the report as CSV, Markdown and LaTeX
    report.html        the report, which shows all of this in a browser
    own_code/          copies of the files of mixers of one's own
    trackers.json      ids by which the trackers of ``--writers`` know the run
    tensorboard/, wandb/, mlruns/    what these trackers write

If several processes train the run, each writes its part of the checkpoints and the first alone all
else; methods that write return the first one's result on every process.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from mecheval_jax import programs, trust
from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.experiment import Experiment, difference_words
from mecheval_jax.files import damaged, read_json, write_json, write_text
from mecheval_jax.forms import mismatch
from mecheval_jax.partitioning.multihost import by_main
from mecheval_jax.store import folder as names
from mecheval_jax.store import forms, own_code, task_files
from mecheval_jax.store.folder import Folder
from mecheval_jax.store.lock import held
from mecheval_jax.store.metrics import forget_after, read_rows, write_rows
from mecheval_jax.store.provenance import provenance
from mecheval_jax.store.remedies import AS_IT_WAS, NOT_NEEDED, measured_again, verdict_anew
from mecheval_jax.tasks import fields_of_files, files_of
from mecheval_jax.tasks.example import Example, ExampleQuestion


class TrainingFolder(Folder):
    """Folder of what is trained at once, with its metrics over steps."""

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.metrics = self.path / names.METRICS_FILE

    def read_metrics(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.jsonl``; a last line that was cut off is passed over."""
        return read_rows(self.metrics)

    def go_on(self, mixer: str, step: int) -> None:
        """Begin a training, or go on with it from a step: metrics of later steps are dropped.

        Args:
            mixer: Name of the mixer.
            step: Step of the checkpoint that was read; 0 if none was.

        Raises:
            UserError: If it would go on with other code of a mixer than it began with.
        """
        own_code.keep(mixer, self.path, step)
        forget_after(self.metrics, step)


class RunFolder(TrainingFolder):
    """Paths and files of a run."""

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.config = self.path / names.CONFIG_FILE
        self.grammar = self.path / "grammar.json"
        self.provenance = self.path / names.PROVENANCE_FILE
        self.member = self.path / names.MEMBER_FILE
        self.interchange = self.path / "interchange.csv"
        self.controls = self.path / "controls.csv"
        self.evidence = self.path / "evidence.npz"
        self.transitions = self.path / "transitions.csv"
        self.summary = self.path / "summary.json"
        self.example = self.path / "example.json"
        self.slices = self.path / "slices.csv"
        self.analyses = self.path / "analyses"
        self.figures = self.path / "figures"
        self.report = self.path / names.REPORT_FILE

    @property
    def checkpoints(self) -> pathlib.Path:
        """Where the parameters are: the run's own, or for a member of a group the group's."""
        return (self.path / "../.." if self.member.exists() else self.path) / names.CHECKPOINTS

    def analysis(self, name: str) -> pathlib.Path:
        """The table of an analysis, which need not be there."""
        return self.analyses / f"{name}.csv"

    def read_member(self) -> "MemberPlace | None":
        """Which part of the group's checkpoints is this run's; None for a run on its own."""
        if not self.member.exists():
            return None
        values = read_json(self.member, forms.MEMBER, remedy=measured_again(self.path))
        if values["place"] >= values["of"]:
            place = f"place {values['place']} of {values['of']}"
            raise damaged(self.member, place, measured_again(self.path))
        return MemberPlace(values["place"], values["of"])

    @by_main
    def open(self, experiment: Experiment) -> None:
        """Make the folder this experiment's, or check that it is.

        Raises:
            UserError: If it holds another experiment's run, a sweep's member, or something that
                is no run, or cannot be made.
        """
        self.check_own("run", (self.config.name, self.member.name))
        trust.remember(experiment.model.mixer)
        trust.use_files(experiment.task.files_of(vars(experiment.task)))
        if self.member.exists():  # its checkpoints are those of all members of its group
            raise UserError(
                f"{self.path} is a member of a sweep, which trains it: give its workdir to "
                f"{programs.command('sweep')}, or another one here"
            )
        if self.config.exists():
            self._check_same(experiment)
        self.make()
        # A finished run keeps the config with which its answers were measured.
        if not self.read_summary().get("finished"):
            self._write_origin(experiment)

    @by_main
    def write_config(self, experiment: Experiment) -> None:
        """Note the evaluation and the analyses with which the run was measured last."""
        write_json(self.config, task_files.from_anywhere(experiment.as_dict(), self._started()))

    @by_main
    def open_as_member(
        self, experiment: Experiment, place: int, of: int, metrics: Iterable[Mapping[str, Any]]
    ) -> None:
        """Make the folder that of a member of a group; answers and a verdict found before are gone.

        Analyses and a report stay: they are of the same parameters, if it was not trained anew.

        Args:
            experiment: Experiment of the member.
            place: Place of the member along the axis of members.
            of: Number of members of the group.
            metrics: Rows of the member.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        found = (self.summary, self.example, self.slices)
        found += (self.interchange, self.controls, self.evidence, self.transitions)
        for path in found:
            path.unlink(missing_ok=True)
        self._write_origin(experiment)
        write_json(self.member, dataclasses.asdict(MemberPlace(place, of)))
        write_rows(self.metrics, ({k: v for k, v in r.items() if k != "member"} for r in metrics))

    def _write_origin(self, experiment: Experiment) -> None:
        """Write what the run is and, unless that is known, where it comes from."""
        self.write_config(experiment)
        for name, text in experiment.task.artifacts().items():
            write_text(self.path / name, text)
        if not self.provenance.exists():
            write_json(self.provenance, provenance(experiment))

    def _check_same(self, experiment: Experiment) -> None:
        known = read_json(self.config, remedy=AS_IT_WAS)
        task = task_files.from_anywhere(experiment.as_dict(), self._started())["task"]
        different = task_files.other_content(known.get("task"), task) or difference_words(
            self.experiment(task),  # with the defaults of fields that an older file lacks
            experiment,
            ignored=("evaluation.", "analyses."),
        )
        if different:
            raise UserError(
                f"workdir {self.path} holds the run of another config "
                f"({'; '.join(different)}): choose another workdir"
            )
        # Files may have been moved, which counts for a finished run, too.
        write_json(self.config, known | {"task": task})

    def experiment(self, given: Mapping[str, Any] | None = None) -> Experiment:
        """The experiment whose run this is.

        Of a grammar file that is gone the folder has a copy (`Task.artifacts`); other files that
        are not here are looked for in the folder where training was started (`store.task_files`).

        Args:
            given: Section ``task`` of the config of the folder's user, if there is one: files of
                the same content are read where it has them.

        Raises:
            UserError: If the folder holds no run, or one that would run code of its own (`trust`).
        """
        self._check_holds_run()
        values = read_json(self.config, remedy=AS_IT_WAS)
        places: dict[str, str] = {}
        if isinstance(task := values.get("task"), dict):
            task = task_files.moved(task, given)
            places = self._other_places(task)
            values["task"] = task_files.with_found(task, places)
        model = values.get("model")
        trust.check(model.get("mixer") if isinstance(model, dict) else None, self.config)
        trust.check_files(files_of(values.get("task")), self.config)
        try:
            experiment = Experiment.from_config(values)
        except UserError as error:
            experiment = task_files.with_others(values, places, self.path)
            if experiment is None:
                raise UserError(f"{self.config}: {error}") from None
        if ":" in experiment.model.mixer:
            own_code.say_what_changed(experiment.model.mixer, self.read_provenance(), self.path)
        return experiment

    def _check_holds_run(self) -> None:
        """Refuse a folder without a run, or with one that cannot be read there."""
        if not self.config.exists():
            if (self.path / names.SWEEP_FILE).exists():
                raise UserError(
                    f"{self.path} is a sweep: give one of its runs, "
                    f"{self.path}/{names.GROUPS}/NAME/{names.MEMBERS}/NUMBER"
                )
            raise UserError(f"{self.path} holds no run (no config.json): give a training workdir")
        self.check_links()
        if self.member.exists() and self.path.resolve().parts[-4:-3] != (names.GROUPS,):
            raise UserError(
                f"{self.path} is a member of a sweep, which has its parameters: leave it in the "
                "folder of the sweep"
            )

    def _other_places(self, task: Mapping[str, Any]) -> dict[str, str]:
        """Where else files of the task lie; see `task_files.other_places`.

        A member's sweep is told where they have been moved to. Of a grammar the run has a copy.
        """
        places: dict[str, str] = {}
        sweep = self.path / "../../../.." / names.SWEEP_FILE
        if self.member.exists() and sweep.exists() and (fields := fields_of_files(task)):
            content = read_json(sweep, forms.SWEEP, remedy=AS_IT_WAS)
            own = task_files.of_member_folder(content, self.path.resolve().name)
            by_now = task_files.moved(task, own)
            places |= {name: by_now[name] for name in fields if by_now[name] != task[name]}
        if self.grammar.exists():
            places["grammar_file"] = str(self.grammar)
        return task_files.other_places(task, self._started(), places)

    def _started(self) -> str:
        """Folder in which training was started, of which paths of its config are; "" if unknown."""
        return self.read_provenance().get("folder", "")

    def read_summary(self) -> dict[str, Any]:
        """The summary so far; empty before there is one."""
        again = measured_again(self.path)
        summary = read_json(self.summary, forms.SUMMARY, absent={}, remedy=again)
        if wrong := forms.half_a_verdict(summary):
            raise damaged(self.summary, wrong, verdict_anew(self.path))
        return summary

    @by_main
    def measured_at(self, experiment: Experiment) -> int | None:
        """Step of a finished run with answers to the evaluation of an experiment; or None."""
        summary = self.read_summary()
        known = summary.get("finished") and self.experiment().evaluation == experiment.evaluation
        return summary.get("step") if known else None

    @by_main
    def begin_measuring(self, experiment: Experiment) -> None:
        """Note what is measured next; a run with answers to another evaluation is not finished.

        It comes before the answers: killed at any moment, the folder has those to the evaluation of
        its config, or none.
        """
        summary = self.read_summary()
        if summary.get("finished") and self.experiment().evaluation != experiment.evaluation:
            self.update_summary(finished=False)
        self.write_config(experiment)

    def read_finished(self) -> dict[str, Any]:
        """The summary of a run that has come to its end.

        Raises:
            UserError: If it has not, or the file is damaged.
        """
        if not self.summary.exists():
            what = "a finished member without summary.json"
            raise damaged(self.path, what, measured_again(self.path))
        summary = read_json(self.summary, forms.FINISHED, remedy=measured_again(self.path))
        if wrong := forms.without_probability([summary]):
            raise damaged(self.summary, wrong, verdict_anew(self.path))
        return summary

    @staticmethod
    def has_final_evidence(summary: Mapping[str, Any], experiment: Experiment) -> bool:
        """Whether the verdict of a summary, if it has one, is on the answers of the finished run.

        It is not if `launch.intervene` measured another checkpoint or another split; a different
        number of documents of the same split is told by the width of the intervals.
        """
        measured = summary.get("evidence_step"), summary.get("evidence_split")
        final = summary.get("step"), experiment.evaluation.split
        return all(one in (None, other) for one, other in zip(measured, final, strict=True))

    def attributions_in(self, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Attributions in the evidence of the run's verdict; none if it has no verdict.

        Args:
            summary: The run's summary.

        Raises:
            UserError: If they are damaged, or the verdict is of version 0.4.
        """
        rows = (summary.get("evidence") or {}).get("attributions", [])
        if wrong := mismatch(rows, [forms.LOOKED_AT], "attributions"):
            raise UserError(
                f"{self.summary} is damaged, or older: {wrong}; {verdict_anew(self.path)}"
            )
        return rows

    def write_example(self, document: Example) -> None:
        """Write ``example.json``, so that a report need not draw documents to show one."""
        write_json(self.example, dataclasses.asdict(document))

    def read_example(self) -> Example | None:
        """The document of ``example.json``; None of a run that has none, or is older than it.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.example.exists():
            return None
        values = read_json(self.example, forms.EXAMPLE, remedy=NOT_NEEDED)
        try:
            roles = {int(at): tuple(named) for at, named in values["roles"].items()}
            questions = tuple(ExampleQuestion(**one) for one in values["questions"])
        except (TypeError, ValueError) as error:
            raise damaged(self.example, error, NOT_NEEDED) from None
        count = len(values["words"])
        places = {*roles, *(one.position for one in questions)}
        if not questions or not all(0 <= at < count for at in places):
            raise damaged(self.example, "a role or a question is at no token", NOT_NEEDED)
        return Example(tuple(values["words"]), roles, questions)

    def read_provenance(self) -> dict[str, Any]:
        """Where the run comes from; empty if that is not known."""
        return read_json(self.provenance, forms.PROVENANCE, absent={}, remedy=NOT_NEEDED)

    @by_main
    def update_summary(self, **values: Any) -> dict[str, Any]:
        """Add to the summary, or change it, and return it.

        What measures a run may do so while another program trains it: neither loses the other's.
        """
        with held(self.path, "summary"):
            summary = self.read_summary() | values
            write_json(self.summary, summary)
        return summary

    @by_main
    def go_on(self, mixer: str, step: int, *, lost: int = 0) -> None:
        """Also forget that the run was finished, or diverged, after that step.

        Args:
            mixer: Name of the mixer.
            step: Step of the checkpoint that was read; 0 if none was.
            lost: Number of later checkpoints that were set aside.
        """
        super().go_on(mixer, step)
        summary = self.read_summary()
        if summary.get("finished") and step < summary.get("step", 0):
            which = "its newest checkpoint is" if step or lost == 1 else "its checkpoints are"
            how = f"again from step {step:,}" if step else "anew"
            fate = f"{which} {'set aside' if lost else 'gone'}: trained {how}"
            say(f"{self.path}: this run was finished, and {fate}")
            self.update_summary(finished=False)
        if summary.get("diverged_at") is not None:
            self.update_summary(diverged_at=None)


@dataclasses.dataclass(frozen=True)
class MemberPlace:
    """Where a member of a group stands, as in ``member.json``.

    Attributes:
        place: Place along the axis of members.
        of: Number of members of the group.
    """

    place: int
    of: int
