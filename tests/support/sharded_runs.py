"""What happens on 8 devices: ``python -m tests.support.sharded_runs`` prints it as JSON.

Names of mixers as arguments: the training of those alone; after ``meshes``, on every mesh.

A program of its own, because the number of a CPU's devices is fixed when jax starts.
"""

import json
import math
import pathlib
import re
import shutil
import sys
import tempfile

import jax
import numpy as np

from mecheval_jax import command_line, runs
from mecheval_jax.errors import UserError
from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.partitioning.rules import path_name
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.device_programs import RunPrograms
from mecheval_jax.training.state import Policy
from tests.support import small

BATCH, STEPS, CUT = 104, 20, 8
PRIME = 13
"""Of the documents on one device, on two and so on, and of no other axis but in the delta rule."""

MESHES = ((1, 1, 1), (8, 1, 1), (2, 2, 2), (1, 4, 2))
HEADED = ("attention", "sliding_window_attention", "based", "delta_net")
HEADED += ("gated_delta_net", "gla", "retnet")
HEADED += ("kda", "gated_delta_net_2", "gated_delta_product", "comba", "rwkv7")
HEADED += ("forgetting_attention", "forgetting_attention_pro", "gated_attention", "path_attention")
HEADED += ("hgrn2", "gated_slot_attention", "mesa_net", "mlstm")
HEADS = {mixer: {"head_dim": 16} for mixer in ("mamba2", "mamba3", "log_linear_mamba2")}
HEADS |= {mixer: {"heads": 2} for mixer in HEADED}
"""Options with which heads can be spread over two devices."""

ACCUMULATED = {"gradient_accumulation": 2, "remat": "full"}
LONG = small.ONE_LAYER | {
    "model.layers": 2,
    "task.pairs": 255,
    "task.key_vocabulary": 300,
    "task.value_vocabulary": 300,
    "model.max_length": 1024,
    "training.batch_size": BATCH,
}
"""513 tokens are read: long convolutions run as FFTs, but in the last layer, at the query alone."""

CONVOLVED = {
    "delta_net": {"model.mixer": "delta_net"},
    "attention": {"model.mixer": "attention", "model.canon": 3, "model.canon_at": "ABCD"},
    "attention_2_heads": {
        "model.mixer": "attention",
        "model.mixer_options": {"heads": 2},
        "model.canon": 3,
        "model.canon_at": "ABCD",
    },
    "gated_delta_product": {
        "model.mixer": "gated_delta_product",
        "model.mixer_options": HEADS["kda"],
    },
}
"""Models with short convolutions whose channels ``model`` cuts, or does not."""

SPLIT_RULES = (("mlp/fc1/kernel", (None, "data")), (".*", ()))


START = np.int32(0)


def shapes_in(text):
    """Dimensions of all arrays of a compiled program, as they are on each device."""
    return {tuple(map(int, found.split(","))) for found in re.findall(r"f32\[([\d,]+)\]", text)}


def moved_documents(text):
    """What devices exchange of documents in a compiled program: operation and dimensions.

    Sums (all-reduce) and the parts of them are what a layer cut by rows is for.
    """
    moved = []
    pattern = r"= (.*?) (all-gather|all-to-all|collective-permute)(?:-start)?\("
    for shapes, operation in re.findall(pattern, text):
        for kind, found in re.findall(r"(\w+)\[([\d,]+)\]", shapes):
            sizes = found.split(",")
            if kind == "c64":  # the last axis is of frequencies, which may be as many as documents
                sizes.pop()
            if any(int(size) % PRIME == 0 for size in sizes):
                moved.append([operation, found])
    return moved


def report_meshes(mixer, meshes=MESHES, layers=2, **training):
    """Losses on several meshes, and what moves on each."""
    changes = {"model.mixer": mixer, "model.mixer_options": HEADS.get(mixer, {})}
    changes["model.layers"] = layers
    changes["model.feed_forward"] = "glu" if mixer == "hyena" else "mlp"
    changes["model.tied"] = mixer != "attention"
    experiment = small.experiment(
        changes, batch_size=BATCH, steps=STEPS, steps_per_dispatch=STEPS, **training
    )
    report = {}
    for shape in meshes:
        programs = small.programs(experiment, make_mesh(jax.devices()[: math.prod(shape)], shape))
        program = programs.steps(Policy.RAISE)
        _, metrics = program(programs.create(), START, np.int32(STEPS))
        text = program.as_text()
        report[",".join(map(str, shape))] = {
            "losses": np.asarray(metrics["loss"]).tolist(),
            "moved": moved_documents(text),
            "gathers": text.count(" all-gather("),
        }
    return report


def report_training(mixer):
    """Losses on 1 and on 8 devices, and in a run that moves from the one to the other."""
    layers = 2 if mixer == "based" else len(mixer.split(","))  # its second one attends
    feed_forward = "mlp" if mixer == "attention" else "none"  # that of one of them is enough
    changes = {"model.mixer": mixer, "model.layers": layers, "model.feed_forward": feed_forward}
    if re.search("mamba[23]", mixer):
        changes["model.mixer_options"] = {"head_dim": 16}
    if "gla" in mixer:  # 8 channels of 13 documents would look like all 104 documents
        changes["model.mixer_options"] = {"key_share": 0.25}
    experiment = small.experiment(
        changes,
        batch_size=BATCH,
        steps=STEPS,
        steps_per_dispatch=STEPS,
        learning_rate=1e-2,
        warmup_fraction=0.1,
    )
    one, eight = small.programs(experiment), small.programs(experiment, make_mesh())
    compiled = {}
    losses = {}
    for name, programs in (("one", one), ("eight", eight)):
        compiled[name] = programs.steps(Policy.RAISE)
        _, metrics = compiled[name](programs.create(), START, np.int32(STEPS))
        losses[name] = np.asarray(metrics["loss"]).tolist()

    text = compiled["eight"].as_text()
    found = {
        "losses": losses,
        "all_gathers": text.count("all-gather"),
        "all_reduces": text.count("all-reduce"),
        "shapes": sorted(shapes_in(text)),
        "shapes_on_one": sorted(shapes_in(compiled["one"].as_text())),
        "read_length": experiment.task.read_length,
    }
    if mixer in small.HYBRIDS:  # how a run moves does not depend on its mixers
        return found

    state, metrics = compiled["one"](one.create(), START, np.int32(CUT))
    before = np.asarray(metrics["loss"])[:CUT]
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(pathlib.Path(folder))
        checkpoints.save(CUT, one.saved(state))
        checkpoints.close()
        checkpoints = Checkpoints(pathlib.Path(folder))
        state = eight.restored(checkpoints.restore(eight.saved_form))
        checkpoints.close()
    _, metrics = compiled["eight"](state, np.int32(CUT), np.int32(STEPS))
    losses["moved"] = [*before.tolist(), *np.asarray(metrics["loss"])[: STEPS - CUT].tolist()]

    return found


def report_long(mixer, mesh=MESHES[1], **options):
    """What devices exchange in a step whose long convolution is an FFT."""
    changes = {"model.mixer": mixer, "model.mixer_options": options}
    experiment = small.experiment(LONG | changes)
    text = small.programs(experiment, make_mesh(shape=mesh)).steps(Policy.RAISE).as_text()
    return {
        "all_gathers": text.count("all-gather"),
        "moved": moved_documents(text),
        "all_to_alls": text.count("all-to-all"),
        "ffts": len(re.findall(r" fft\(", text)),
        "transforms": re.findall(r"= \w+\[([\d,]+)\]\S* fft\(", text),
        "read_length": experiment.task.read_length,
        "shapes": sorted(shapes_in(text)),
    }


def report_convolved(changes):
    """What devices exchange in a step of a model with short convolutions."""
    experiment = small.experiment(
        {"model.layers": 1, "model.feed_forward": "mlp"} | changes, batch_size=BATCH
    )
    programs = small.programs(experiment, make_mesh(shape=MESHES[3]))
    return moved_documents(programs.steps(Policy.RAISE).as_text())


def report_birth():
    """Where parameters live from the start, and whether they are those of one device."""
    experiment = small.experiment({"model.layers": 1})
    programs = small.programs(experiment)
    whole = programs.create()
    replicated = small.programs(experiment, make_mesh()).create()
    split = RunPrograms(programs.ensemble, make_mesh(), SPLIT_RULES).create()
    for state in (replicated, split):
        small.assert_same_bits(state.params, whole.params)

    def places(state):
        return {
            path_name(path): [
                str(leaf.sharding.spec),
                len(leaf.sharding.device_set),
                list(leaf.addressable_shards[0].data.shape),
                list(leaf.shape),
            ]
            for path, leaf in jax.tree.leaves_with_path((state.params, state.opt_state))
        }

    return {"replicated": places(replicated), "split": places(split)}


def report_run():
    """Metrics and summary of whole runs, with documents that do not divide over 8 devices."""
    experiment = small.experiment(
        small.ONE_LAYER | {"evaluation.documents": 10}, evaluation_documents=10
    )
    reports = {}
    for name, devices in (("one", jax.devices()[:1]), ("eight", jax.devices())):
        workdir = pathlib.Path(tempfile.mkdtemp()) / "run"
        folder = runs.train(experiment, workdir, make_mesh(devices))
        reports[name] = {"metrics": folder.read_metrics(), "summary": folder.read_summary()}
    # Half on one mesh and half on another: the checkpoint has no trace of either.
    workdir = pathlib.Path(tempfile.mkdtemp()) / "run"
    folder = runs.train(experiment, workdir, make_mesh(shape=(2, 2, 2)))
    shutil.rmtree(folder.checkpoints / str(experiment.training.steps))
    folder = runs.train(experiment, workdir, make_mesh(shape=(1, 4, 2)))
    reports["moved"] = {"metrics": folder.read_metrics(), "summary": folder.read_summary()}
    table = runs.load(workdir).params["token_embedding"]["embedding"]
    reports["moved"]["rows"] = [len(table), experiment.model.vocabulary_size]
    return reports


def report_uneven():
    """The message about a batch that does not divide, and what the workdir then holds."""
    workdir = pathlib.Path(tempfile.mkdtemp()) / "run"
    try:
        runs.train(small.experiment(batch_size=12), workdir)
    except UserError as error:
        return {"message": str(error), "workdir_exists": workdir.exists()}
    return {"message": "", "workdir_exists": workdir.exists()}


if __name__ == "__main__":
    command_line.set_up_compilation_cache()
    asked = sys.argv[1:]
    found = {"devices": jax.device_count()}
    if "meshes" in asked:
        asked.remove("meshes")
        found["meshes"] = {mixer: report_meshes(mixer) for mixer in asked}
    else:
        found["training"] = {mixer: report_training(mixer) for mixer in asked or small.MIXERS}
    if len(sys.argv) == 1:
        one, _, first, second = MESHES
        found["meshes"] = {
            "attention": report_meshes("attention", (one, first)),
            "mamba": report_meshes("mamba", (one, second), layers=1),  # slow to compile
        }
        found["accumulated"] = report_meshes("attention", (second,), **ACCUMULATED)
        found |= {
            "uneven": report_uneven(),
            "run": report_run(),
            "birth": report_birth(),
            "convolved": {name: report_convolved(given) for name, given in CONVOLVED.items()},
            "long": {
                "hyena": report_long("hyena"),
                "base_conv": report_long("base_conv", kernel="implicit"),
                "h3": report_long("h3", d_state=16),
                "meshed": report_long("hyena", MESHES[2]),
            },
        }
    json.dump(found, sys.stdout)
