"""TensorBoard, Weights & Biases and MLflow, each an optional package.

Metrics are named ``split/metric``, or ``member_0003/split/metric`` if a sweep trains many members
together. A run that resumes continues its record: the ids that W&B and MLflow know it by are kept
in ``trackers.json`` of its folder.

Addresses and keys come from the packages' own environment variables: ``WANDB_API_KEY``,
``WANDB_PROJECT``, ``WANDB_MODE=offline``; ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``.
"""

import importlib.util
import os
import pathlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flax.traverse_util import flatten_dict

from mecheval_jax.errors import UserError, choose, several
from mecheval_jax.files import read_json, write_json
from mecheval_jax.store.folder import CONFIG_FILE

PROJECT = "mecheval_jax"
"""Project of W&B and experiment of MLflow if the environment names none."""

FLUSH_SECONDS = 10
"""Seconds after which TensorBoard sees a row at the latest."""

FIELDS = ("step", "split", "member")
"""Fields of a row that are not metrics."""

MLFLOW_PARAMS = 100
"""Parameters that a server of MLflow takes at once; it refuses a call with more."""


def check_trackers(names: Sequence[str]) -> None:
    """Check that each tracker is known and its package installed; nothing is imported.

    Raises:
        UserError: If a name is unknown, or a package is missing.
    """
    for name in several(names):
        choose("writer", name, TRACKERS)
        package = TRACKERS[name].package
        if importlib.util.find_spec(package) is None:
            distribution = TRACKERS[name].distribution
            raise UserError(
                f"writer {name!r} needs the package {package}: pip install {distribution} "
                f"(the extra {name!r})"
            )


def named_metrics(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The metrics of a row, each named as trackers show it: ``dev/loss``, for example."""
    member = f"member_{int(values['member']):04d}/" if "member" in values else ""
    for name, value in values.items():
        if name not in FIELDS and value is not None:
            yield f"{member}{values['split']}/{name}", float(value)


class TensorBoard:
    """Event files in ``tensorboard/``, which ``tensorboard --logdir=WORKDIR`` reads.

    Args:
        folder: Folder of the run.
        step: Last step that counts; TensorBoard hides later ones of an earlier attempt.
    """

    package, distribution = "tensorboardX", "tensorboardX"

    def __init__(self, folder: pathlib.Path, step: int):
        from tensorboardX import SummaryWriter

        logs = folder / "tensorboard"
        purged = step + 1 if logs.exists() else None
        # Files are named by the second; the step tells quick restarts apart.
        self._writer = SummaryWriter(
            str(logs), purge_step=purged, flush_secs=FLUSH_SECONDS, filename_suffix=f".{step}"
        )

    def write(self, values: Mapping[str, Any]) -> None:
        """Add the metrics of one row."""
        for name, value in named_metrics(values):
            self._writer.add_scalar(name, value, int(values["step"]))

    def close(self, completed: bool = True) -> None:
        """Write all pending rows."""
        self._writer.close()


class WeightsAndBiases:
    """A run of W&B, which gets the config.

    Metrics are plotted over ``step`` and not over W&B's own count of rows: a resumed run may take
    steps again.
    """

    package, distribution = "wandb", "wandb"

    def __init__(self, folder: pathlib.Path, step: int):
        import wandb  # pyright: ignore[reportMissingImports]

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=folder.absolute().name,
            dir=str(folder),
            id=_remembered(folder, "wandb", lambda: uuid.uuid4().hex),
            resume="allow",
            config=read_json(folder / CONFIG_FILE, absent={}),  # a group of a sweep has none
        )
        self._run.define_metric("*", step_metric="step")

    def write(self, values: Mapping[str, Any]) -> None:
        """Add the metrics of one row."""
        self._run.log({"step": int(values["step"])} | dict(named_metrics(values)))

    def close(self, completed: bool = True) -> None:
        """Send all pending rows; W&B then calls the run finished, or failed."""
        self._run.finish(exit_code=0 if completed else 1)


class MLflow:
    """A run of MLflow, which gets the fields of the config as parameters.

    Without ``MLFLOW_TRACKING_URI`` it is kept as files in ``mlruns/`` of the run's folder.
    """

    package, distribution = "mlflow", "mlflow-skinny"

    def __init__(self, folder: pathlib.Path, step: int):
        # MLflow from 3.13 on writes files only if told to.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
        from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]

        files = (folder / "mlruns").absolute().as_uri()
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", files))
        self._metric = Metric

        def begin() -> str:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            experiment = self._client.get_experiment_by_name(name)
            number = (
                experiment.experiment_id if experiment else self._client.create_experiment(name)
            )
            run = self._client.create_run(number, run_name=folder.absolute().name).info.run_id
            fields = flatten_dict(read_json(folder / CONFIG_FILE, absent={}), sep=".")
            params = [Param(name, str(value)) for name, value in fields.items()]
            for start in range(0, len(params), MLFLOW_PARAMS):
                self._client.log_batch(run, params=params[start : start + MLFLOW_PARAMS])
            return run

        self._run = _remembered(folder, "mlflow", begin)
        self._client.update_run(self._run, status="RUNNING")

    def write(self, values: Mapping[str, Any]) -> None:
        """Add the metrics of one row."""
        now, step = int(time.time() * 1000), int(values["step"])
        metrics = [self._metric(name, value, now, step) for name, value in named_metrics(values)]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, completed: bool = True) -> None:
        """End the run; MLflow then calls it finished, or failed."""
        self._client.set_terminated(self._run, "FINISHED" if completed else "FAILED")


TRACKERS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "mlflow": MLflow}
"""Trackers by the names of ``--writers``, which are also the names of the extras to install."""


def _remembered(folder: pathlib.Path, tracker: str, make: Callable[[], str]) -> str:
    """The id by which a tracker knows the run; a new one is made and kept the first time."""
    path = folder / "trackers.json"
    known = read_json(path, {...: str}, absent={})
    if tracker not in known:
        known[tracker] = make()
        write_json(path, known)
    return known[tracker]
