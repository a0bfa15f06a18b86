"""Trackers are told every row, and go on where a run was broken."""

import contextlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import pathlib
import struct
import sys
import types

import pytest

from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.store.metrics import (
    forget_after,
    open_writers,
)
from mecheval_jax.store.trackers import check_trackers, named_metrics
from tests.support import small

DEV = {"step": 10, "split": "dev", "loss": 2.25, "accuracy": 0.5}


def events(folder: pathlib.Path) -> list[tuple[str, int, float]]:
    """Scalars of TensorBoard's event files, read by their format: length, check, record, check."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            if event.HasField("session_log"):
                found.append(("purge", event.step, 0.0))
            data = data[16 + length :]
    return found


def test_names_of_metrics():
    """Catches members that overwrite each other's curves, and a step shown as a metric."""
    assert dict(named_metrics(DEV)) == {"dev/loss": 2.25, "dev/accuracy": 0.5}
    assert dict(named_metrics(DEV | {"member": 3}))["member_0003/dev/accuracy"] == 0.5
    assert dict(named_metrics({"step": 1, "split": "dev", "loss": None})) == {}


def test_tensorboard_goes_on_where_a_run_was_broken(tmp_path):
    """Catches curves with steps of an attempt that is gone, and tags without their member."""
    with open_writers(["tensorboard"], tmp_path, members=True) as writer:
        for step in (10, 20, 30):
            writer.write(DEV | {"step": step, "member": 7})
    forget_after(tmp_path / "metrics.jsonl", 20)
    with open_writers(["tensorboard"], tmp_path, members=True) as writer:
        writer.write(DEV | {"step": 30, "member": 7})
    found = events(tmp_path / "tensorboard")
    assert ("member_0007/dev/accuracy", 10, 0.5) in found
    assert [step for tag, step, _ in found if tag == "purge"] == [21]
    assert [step for tag, step, _ in found if tag.endswith("loss")] == [10, 20, 30, 30]


def test_mistakes_in_writers(tmp_path, monkeypatch):
    """Catches a misspelt name, or an absent package, found after training."""
    with pytest.raises(UserError, match=r"'tensorbord' \(did you mean 'tensorboard'"):
        runs.train(small.experiment(), tmp_path / "run", writers=["tensorbord"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'mlflow' needs .* pip install mlflow-skinny .*extra"):
        runs.train(small.experiment(), tmp_path / "run", writers=["mlflow"])
    assert not (tmp_path / "run").exists()


def package(monkeypatch, name, **contents):
    """Stand a module in for a package that need not be installed."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)


def test_wandb_is_told(tmp_path, monkeypatch):
    """Catches another id after a resume, steps that W&B would drop, and an end not told."""
    started, logged, ended = [], [], []

    class Run:
        def define_metric(self, name, step_metric):
            assert (name, step_metric) == ("*", "step")

        def log(self, values):
            logged.append(values)

        def finish(self, exit_code):
            ended.append(exit_code)

    def init(**settings):
        started.append(settings)
        return Run()

    package(monkeypatch, "wandb", init=init)
    (tmp_path / "config.json").write_text(json.dumps({"model": {"width": 16}}))
    check_trackers(["wandb"])
    with open_writers(["wandb"], tmp_path) as writer:
        writer.write(DEV)
    with contextlib.suppress(KeyboardInterrupt), open_writers(["wandb"], tmp_path) as writer:
        writer.write(DEV)
        raise KeyboardInterrupt
    assert [settings["resume"] for settings in started] == ["allow", "allow"]
    assert started[0]["id"] == started[1]["id"]
    assert started[0]["dir"] == str(tmp_path)
    assert started[0]["config"] == {"model": {"width": 16}}
    assert logged[0] == {"step": 10, "dev/loss": 2.25, "dev/accuracy": 0.5}
    assert ended == [0, 1]


def test_mlflow_is_told(tmp_path, monkeypatch):
    """Catches a second run after a resume, metrics without their step, and a full call."""
    calls = []

    class Client:
        def __init__(self, uri):
            calls.append(("uri", uri))

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            calls.append(("experiment", name))
            return "5"

        def create_run(self, experiment, run_name):
            calls.append(("run", experiment, run_name))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

        def log_batch(self, run, metrics=(), params=()):
            assert len(params) <= 100, "a server refuses more"
            calls.append(("batch", run, list(metrics), list(params)))

        def update_run(self, run, status):
            calls.append(("update", run, status))

        def set_terminated(self, run, status):
            calls.append(("end", run, status))

    def metric(name, value, timestamp, step):
        return name, value, step

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    package(monkeypatch, "mlflow", MlflowClient=Client)
    entities = {"Metric": metric, "Param": lambda name, value: (name, value)}
    package(monkeypatch, "mlflow.entities", **entities)
    fields = {f"option_{number}": number for number in range(150)}
    (tmp_path / "config.json").write_text(json.dumps({"model": fields}))
    for _ in range(2):
        with open_writers(["mlflow"], tmp_path) as writer:
            writer.write(DEV)
    assert calls[0] == ("uri", (tmp_path / "mlruns").as_uri())
    assert [call for call in calls if call[0] == "run"] == [("run", "5", tmp_path.name)]
    told = [param for call in calls if call[0] == "batch" for param in call[3]]
    assert told == [(f"model.{name}", str(value)) for name, value in fields.items()]
    rows = [("dev/loss", 2.25, 10), ("dev/accuracy", 0.5, 10)]
    assert calls.count(("batch", "r1", rows, [])) == 2
    assert calls[-1] == ("end", "r1", "FINISHED")


def live(name):
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
    )


@live("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_without_a_network(tmp_path, monkeypatch):
    """Catches a call that the package itself does not take."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for _ in range(2):
        with open_writers(["wandb"], tmp_path) as writer:
            writer.write(DEV)
    known = json.loads((tmp_path / "trackers.json").read_text())["wandb"]
    assert [path.name.endswith(known) for path in (tmp_path / "wandb").glob("offline-run-*")]


@live("mlflow")
@pytest.mark.filterwarnings("ignore")
def test_mlflow_without_a_network(tmp_path, monkeypatch):
    """Catches a call that the package itself does not take."""
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for step in (10, 20):
        with open_writers(["mlflow"], tmp_path) as writer:
            writer.write(DEV | {"step": step})
    client = MlflowClient((tmp_path / "mlruns").as_uri())
    run = json.loads((tmp_path / "trackers.json").read_text())["mlflow"]
    history = client.get_metric_history(run, "dev/accuracy")
    assert [(metric.step, metric.value) for metric in history] == [(10, 0.5), (20, 0.5)]
    assert client.get_run(run).info.status == "FINISHED"
