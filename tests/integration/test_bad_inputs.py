"""Whatever a user gives that cannot be: exit code 2, one line that names it, no traceback.

A case is a program with its arguments, and ends before any compute.
"""

import re

import pytest

from tests.support import reported_runs
from tests.support.called import call, refused

# ml_collections reads a config by what Python 3.12 calls by another name.
pytestmark = pytest.mark.filterwarnings(r"ignore:the load_module\(\) method")

RECALL = "--config=configs/recall.py"

FLAGS = [
    # (program and arguments, what the message names)
    ("train --workdir={new}", "--config is missing"),
    (f"train {RECALL}", "--workdir is missing"),
    ("train recal --workdir={new}", "did you mean 'recall'?"),
    ("train --config=configs/none.py --workdir={new}", "configs/none.py"),
    (f"train {RECALL}:width --workdir={{new}}", "write name=value"),
    (f"train {RECALL}:width=x --workdir={{new}}", "width=x"),
    (f"train {RECALL}:widht=3 --workdir={{new}}", "did you mean 'width'?"),
    (f"train {RECALL}:smoke=maybe --workdir={{new}}", "True or False"),
    (f"train {RECALL} --workdir={{new}} --config.analyses.prob.ridge=1", "did you mean 'probes'?"),
    (f"train {RECALL} --workdir={{new}} --mesh=2", "mesh '2'"),
    (f"train {RECALL} --workdir={{new}} --mesh=0,1,1", "mesh '0,1,1'"),
    (f"train {RECALL} --workdir={{new}} --mesh=64,1,1", "does not fit"),
    (f"train {RECALL} --workdir={{new}} --mesh=1,1,1,1", "mesh '1,1,1,1'"),
    (f"train {RECALL} --workdir={{new}} --mesh=a,b,c", "mesh 'a,b,c'"),
    (f"train {RECALL} --workdir={{new}} --mesh=fsdp=-1", "mesh 'fsdp=-1'"),
    (f"train {RECALL} --workdir={{new}} --mesh=" + "9" * 5000, "mesh '999"),
    (f"train {RECALL} --workdir={{new}} --writers=tensorbord", "did you mean 'tensorboard'?"),
    (f"train {RECALL} --workdir={{new}} --wrk=3", "wrk"),
    (f"train {RECALL} extra --workdir={{new}}", "unexpected argument 'extra'"),
    (f"train {RECALL} --workdir={{file}}", "is a file"),
    (f"train {RECALL} --workdir={{file}}/below", "file/below"),
    (f"train {RECALL} --workdir={{full}}", "is not empty and holds no run"),
    (f"train {RECALL} --workdir={{new}} --processes=0", "--processes is 0"),
    (f"train {RECALL} --workdir={{new}} --processes=2", "without"),
    (f"train {RECALL} --workdir={{new}} --coordinator=here", "--coordinator is 'here'"),
    (f"train {RECALL} --workdir={{new}} --hosts_timeout=0", "hosts_timeout"),
    (
        f"train {RECALL} --workdir={{new}} --coordinator=a:1 --processes=2 --process_id=2",
        "--process_id is 2",
    ),
    ("intervene --workdir={new}", "holds no run"),
    ("intervene --workdir={run} --sites=", "sites is empty"),
    ("intervene --workdir={run} --steps=", "steps is empty"),
    ("intervene --workdir={run} --steps=5", "no checkpoint yet"),
    ("intervene --workdir={run} --documents=0", "evaluation.documents is 0"),
    ("intervene --workdir={run} --documents=-5", "evaluation.documents is -5"),
    ("intervene --workdir={run} --documents=x", "documents"),
    ("intervene --workdir={run} --documents=99999999999", "evaluation.documents is 99999999999"),
    ("intervene --workdir={run} --split=all", "unknown evaluation.split 'all'"),
    ("intervene --workdir={run} --roles=", "--roles is empty"),
    ("intervene --workdir={run} --roles=kye", "did you mean 'key'?"),
    ("intervene --workdir={run} --roles=key,key", "names key twice"),
    ("intervene --workdir={run} --corruptions=kye", "did you mean 'key'?"),
    ("intervene --workdir={run} --directions=both", "unknown evaluation.directions 'both'"),
    ("intervene --workdir={run}", "no checkpoint yet"),
    ("evaluate --workdir={new}", "holds no run"),
    ("evaluate --workdir={run} --analyses=", "--analyses is empty"),
    ("evaluate --workdir={run} --analyses=probe", "did you mean 'probes'?"),
    ("evaluate --workdir={run}", "no checkpoint yet"),
    ("pool --workdir={run}", "one run is no population"),
    ("pool --workdir={run} --workdir={run}", "one run is no population"),
    ("pool --workdir={run} --workdir={new}", "holds no run"),
    ("pool --workdir={run} --workdir={loop}", "holds no run"),
    ("report --workdir={new}", "holds no run"),
    ("report --workdir={loop}", "holds no run"),
    ("report --workdir={new} --output={file}", "cannot be made"),
    ("report --workdir={run} --output={file}/report", "is no folder"),
    ("compare --workdir={new} --output={file}", "cannot be made"),
    ("status --workdir={new}", "holds no sweep"),
    ("status --workdir={file}", "holds no sweep"),
    ("status --workdir={run} --patience=x", "patience"),
    ("status --workdir={run} --patience=-1", "patience"),
    ("status --workdir={run} --patience=nan", "--patience is nan"),
    ("status --workdir={run} --patience=inf", "--patience is inf"),
    ("status --workdir=", "--workdir is empty"),
    ("report --workdir={run} --workdir=", "--workdir is empty"),
    ("report --workdir={run} --output=", "--output is empty"),
    ("report --workdir={run} --formats=", "--formats is empty"),
    ("report --workdir={run} --formats=png,,svg", "--formats is empty"),
    (f"cost {RECALL} --workdir={{new}} --mixers=", "--mixers is empty"),
    (f"choose {RECALL} --workdir={{new}} --widths=", "--widths is empty"),
    (f"choose {RECALL} --workdir={{new}} --length=99999999999", "length"),
    (f"sweep {RECALL} --workdir={{new}} --retries=100000000000000000000", "retries"),
    (f"inspect {RECALL} --split=all", "unknown split 'all'"),
    (f"inspect {RECALL} --count=0", "count"),
    (f"inspect {RECALL} --count=x", "count"),
    (f"inspect {RECALL} --count=10001", "[1, 10000]"),
    (f"inspect {RECALL} --seed=-1", "seed"),
    (f"inspect {RECALL} --seed=4294967296", "seed"),
    (f"cost {RECALL} --workdir={{new}} --lengths=1", "cost.lengths has 1"),
    (f"cost {RECALL} --workdir={{new}} --lengths=x", "--lengths=x"),
    (f"cost {RECALL} --workdir={{new}} --lengths=", "--lengths is empty"),
    (f"cost {RECALL} --workdir={{new}} --programs=sleep", "sleep"),
    (f"cost {RECALL} --workdir={{new}} --batch=0", "cost.batch is 0"),
    (f"cost {RECALL} --workdir={{new}} --seconds=nan", "--seconds is nan"),
    (f"cost {RECALL} --workdir={{new}} --mixers=mmaba", "did you mean 'mamba'?"),
    (f"cost {RECALL} --workdir={{file}}", "file"),
    ("benchmark --steps=0", "steps"),
    ("benchmark --steps=10 --only=grid", "--steps is 10"),
    ("benchmark --suite=device --against=torch", "two measurements"),
    (f"train {RECALL} --workdir={{new}} --hosts_timeout=99999999999", "hosts_timeout"),
    ("study --workdir={new} --scale=big", "unknown scale 'big'"),
    ("study --workdir={new} --only=ar", "ar"),
    ("study --workdir={new} --budget=-1", "--budget is -1"),
    ("study --workdir={new} --budget=nan", "--budget is nan"),
    ("study --workdir={new} --interventions=some", "some"),
    ("study --workdir={new} --tables={full}/none.csv", "there is no results table"),
    ("study --workdir={file}", "is a file"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.seed", "write field=value"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.seed=", "write field=value"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.sede=1", "did you mean 'seed'?"),
    (f"sweep {RECALL} --workdir={{new}} --grid=trainin.seed=1", "did you mean 'training'?"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.seed=x", "training.seed is 'x'"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.seed=1,,2", "training.seed is ''"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.seed=0,0", "are the same run"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.seed=-1,0", "training.seed is -1"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.steps=0", "training.steps is 0"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.learning_rate=nan", "learning_rate is nan"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.learning_rate=inf", "learning_rate is inf"),
    (f"sweep {RECALL} --workdir={{new}} --grid=training.steps=None", "training.steps is None"),
    (f"sweep {RECALL} --workdir={{new}} --grid=model.width=1048576", "this takes at least"),
    (f"sweep {RECALL} --workdir={{new}} --grid=evaluation.roles=key", "vary it in sweep()"),
    (
        f"sweep {RECALL} --workdir={{new}} --grid=" + "training.seed=1 --grid=training.seed=1",
        "is there twice",
    ),
    (f"sweep {RECALL} --workdir={{new}} --shard=2", "shard '2'"),
    (f"sweep {RECALL} --workdir={{new}} --shard=4/4", "shard '4/4'"),
    (f"sweep {RECALL} --workdir={{new}} --shard=-1/4", "shard '-1/4'"),
    (f"sweep {RECALL} --workdir={{new}} --shard=a/b", "shard 'a/b'"),
    (f"sweep {RECALL} --workdir={{new}} --groups=", "--groups is empty"),
    (f"sweep {RECALL} --workdir={{new}} --groups=none", "unknown group 'none'"),
    (f"sweep {RECALL} --workdir={{new}} --members_at_once=0", "members_at_once"),
    (f"sweep {RECALL} --workdir={{new}} --members_at_once=2 --strategy=scan", "by vmap alone"),
    (f"sweep {RECALL} --workdir={{new}} --strategy=fast", "strategy"),
    (f"sweep {RECALL} --workdir={{new}} --retries=-1", "retries"),
    (f"sweep {RECALL} --workdir={{new}} --launcher=pbs", "launcher"),
    (f"sweep {RECALL} --workdir={{new}} --slurm=partition=x", "give --launcher=slurm"),
    (f"sweep {RECALL} --workdir={{new}} --jobs_at_once=2", "is of --launcher=local"),
    (f"sweep {RECALL} --workdir={{new}} --skip_finished={{new}}", "there is no results table"),
    (f"sweep {RECALL} --workdir={{full}}", "is not empty and holds no sweep"),
    ("ground_truth --workdir={new} --rungs=edge", "did you mean 'edges'"),
    ("ground_truth --workdir={new} --seeds=0", "--seeds=0"),
    ("ground_truth --workdir={new} --rungs=collection", "needs --collection"),
    ("ground_truth --workdir={new} --rungs=collection --collection={file}", "ends in .safetensors"),
]

FIELDS = {
    "training.steps": ("0", "-1", "1.5", "x", "None", "2147483648", "1" + "0" * 20),
    "training.batch_size": ("0", "1000000000", "33 --config.training.gradient_accumulation=2"),
    "training.learning_rate": ("nan", "inf", "-1", "x", "None"),
    "training.weight_decay": ("nan", "-0.1"),
    "training.beta1": ("1", "-0.1", "nan"),
    "training.warmup_fraction": ("1", "nan"),
    "training.decay": ("sine", "3"),
    "training.seed": ("-1", "4294967296", "x", "1" + "0" * 30),
    "training.data_seed": ("-1", "4294967296"),
    "training.evaluate_every": ("0",),
    "training.checkpoint_every": ("0", "-5"),
    "training.keep_checkpoints": ("-1",),
    "training.milestones": ("-1", "x"),
    "training.training_batches": ("0",),
    "training.target_accuracy": ("0", "1.5", "nan"),
    "training.gradient_accumulation": ("0",),
    "training.remat": ("all",),
    "training.stepps": ("3",),
    "training": ("3", "None", "[]"),
    "model.width": ("0", "-3", "1048576", "x"),
    "model.layers": ("0", "1000000", "1025"),
    "model.max_length": ("0", "3"),
    "model.mixer": ("mmaba", "''", "attention,mamba,mamba", "os:path", "nowhere:Mixer", "3"),
    "model.positions": ("some",),
    "model.dtype": ("float16",),
    "model.norm_epsilon": ("0", "nan", "-1"),
    "model.canon": ("-1",),
    "model.canon_at": ("Z", "BA"),
    "model.mixer_options": ("\"{'heds': 3}\"", "3", "\"{'heads': nan}\""),
    "model": ("3",),
    "task.pairs": ("0", "10000000", "x", "None"),
    "task.key_vocabulary": ("1", "2147483648"),
    "task.min_pairs": ("0", "9"),
    "task.held_out": ("1", "nan", "-0.5"),
    "task.filler": ("-1",),
    "task.queries": ("0", "100"),
    "task.seed": ("-1",),
    "task.name": ("recal", "''"),
    "task": ("3",),
    "evaluation.documents": ("0", "2000000000"),
    "evaluation.confidence": ("0", "1", "nan"),
    "evaluation.resamples": ("0",),
    "evaluation.split": ("all",),
    "evaluation.roles": ("\"('kye',)\"", "kye", "3"),
    "evaluation.seed": ("-1",),
    "analyses.probes.ridge": ("0", "nan", "-1"),
    "analyses.probes.test_share": ("0", "1"),
    "analyses.circuits.draws": ("0",),
    "analyses.gradients.measure": ("likelihood",),
    "analyses.subspaces.learning_rate": ("nan",),
}
"""Fields of a config, each with values that it cannot have."""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What arguments name: a new folder, a file, a folder of others, a link to itself, a run."""
    home = tmp_path_factory.mktemp("places")
    (home / "file").write_text("x")
    (home / "full").mkdir()
    (home / "full" / "notes.txt").write_text("x")
    (home / "loop").symlink_to("loop")
    run = reported_runs.make_run(home / "run")
    return {name: home / name for name in ("new", "file", "full", "loop")} | {"run": run}


@pytest.mark.parametrize(("line", "named"), FLAGS, ids=range(len(FLAGS)))
def test_flags(line, named, places):
    """Catches a flag that is taken though it cannot be, or that ends in a traceback."""
    program, *arguments = (word.format_map(places) for word in line.split(" "))
    refused(call(program, *arguments), named)
    assert not places["new"].exists()  # nothing is begun that cannot be


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in FIELDS.items() for value in values]
)
def test_fields_of_a_config(field, value, places):
    """Catches a value that is taken though it cannot be, or that ends in a traceback."""
    value, *others = value.split(" ")
    message = refused(
        call("train", RECALL, f"--workdir={places['new']}", f"--config.{field}={value}", *others)
    )
    # What is wrong stands there by the field's own name; one that belongs to a group of fields may
    # be named by its group and its value, as in "model: width 7 is not divisible by 4 heads".
    *group, own = field.split(".")
    value = value.strip("\"'")
    by_its_value = re.search(rf"(?<!\w){re.escape(value)}(?!\w)", message)
    assert own in words(message) or (by_its_value and words(message) & {*group})
    assert not places["new"].exists()


def words(message):
    """Names and numbers of a message."""
    return set(re.findall(r"[\w-]+", message))


def test_there_are_two_hundred():
    """Catches a table that lost most of its cases."""
    assert len(FLAGS) + sum(map(len, FIELDS.values())) >= 200
