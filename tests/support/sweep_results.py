"""The folder of a sweep as one leaves it, without any training."""

import itertools
import json
import pathlib
from collections.abc import Mapping, Sequence

import pandas as pd

from configs.base import base
from mecheval_jax.files import write_json
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.store.sweep_folder import GroupStatus, SweepFolder
from mecheval_jax.store.sweep_tables import MEMBERS, member_rows
from mecheval_jax.sweeps.plan import plan
from tests.support.small import SMALL

FLOOR = 0.25
PROVENANCE = {
    "commit": "abc123",
    "arguments": ["--config=configs/recall.py:width=16", "--workdir=a b"],
}

# Mixer -> (learning rate, seed) -> accuracy; members 0 to 5, 6 to 9 and 10 to 11.
ACCURACIES = {
    "attention": {
        (1e-4, 0): 0.31,
        (1e-4, 1): 0.47,
        (1e-4, 2): 0.35,
        (1e-2, 0): 0.93,
        (1e-2, 1): 0.18,
        (1e-2, 2): 0.995,
    },
    "mamba": {(1e-4, 0): 0.22, (1e-4, 1): 0.26, (1e-2, 0): 0.61, (1e-2, 1): 0.58},
    "based": {(1e-4, 0): 0.72, (1e-2, 0): 0.81},
}
ATTENTION, MAMBA, BASED = "000_attention_width_16", "001_mamba_width_16", "002_based_width_16"
TITLES = {ATTENTION: "attention, width 16", MAMBA: "mamba, width 16"}
VERDICTS = {0: "not_learned", 3: "induction", 4: "not_learned", 5: "direct_retrieval"}


def make_sweep(
    path: pathlib.Path,
    accuracies: Mapping[str, Mapping[tuple[float, int], float]],
    unfinished: Sequence[str] = (),
    diverged: Mapping[int, int] | None = None,
    stopped: Mapping[int, int] | None = None,
    verdicts: Mapping[int, str] | None = None,
) -> SweepFolder:
    """Write all that `collect` and the report read.

    Args:
        path: of the folder.
        accuracies: mixer -> (learning rate, seed) -> of that member; a group for each mixer.
        unfinished: mixers whose group failed half-way.
        diverged, stopped: member -> step.
        verdicts: member -> its verdict.
    """
    config = base()
    for field, value in SMALL.items():
        section, name = field.split(".")
        config[section][name] = value
    chosen = [
        ({"model.mixer": mixer, "model.positions": positions_of(mixer)}, rate, seed, accuracy)
        for mixer, of in accuracies.items()
        for (rate, seed), accuracy in of.items()
    ]
    sweep = plan(
        config,
        [
            {**model, "training.learning_rate": rate, "training.seed": seed}
            for model, rate, seed, _ in chosen
        ],
    )
    folder = SweepFolder(path)
    path.mkdir(parents=True)
    write_json(folder.sweep, sweep.as_dict())
    write_json(folder.provenance, PROVENANCE)
    diverged, stopped, verdicts = diverged or {}, stopped or {}, verdicts or {}
    for group in sweep.groups:
        open_group = folder.group(group.name)
        whole = group.experiments[0].model.mixer not in unfinished
        steps = group.experiments[0].training.steps
        open_group.write_status(
            GroupStatus(
                "finished" if whole else "failed",
                len(group.members),
                steps if whole else steps // 2,
                steps,
                best_accuracy=0.5,
                error="" if whole else "out of <memory>",
                attempts=1,
            )
        )
        rows, written = [], []
        for number, experiment in zip(group.members, group.experiments, strict=True):
            accuracy = chosen[number][-1]
            end = min(diverged.get(number, steps), stopped.get(number, steps))
            metrics = [
                {"step": step, "split": split, "member": number, "loss": 1 - share}
                | {"accuracy": share}
                for step, split in itertools.product(range(0, end + 1, 5), ("train", "dev"))
                for share in [accuracy * step / max(end, 1)]
            ]
            written += metrics
            summary = {
                "accuracy": accuracy,
                "accuracy_low": max(accuracy - 0.07, 0.0),
                "accuracy_high": min(accuracy + 0.07, 1.0),
                "likelihood": accuracy,
                "loss": 1 - accuracy,
                "floors": {"best": FLOOR},
                "step": end,
            }
            summary |= {"diverged_at": diverged[number]} if number in diverged else {}
            summary |= {"stopped_at": stopped[number]} if number in stopped else {}
            if number in verdicts:
                verdict = verdicts[number]
                summary |= {"verdict": verdict, "probabilities": {verdict: 0.9}}
            rows += member_rows(number, group.name, experiment, summary, metrics)
        open_group.metrics.write_text("".join(f"{json.dumps(row)}\n" for row in written))
        if whole:
            open_group.table.write_text(pd.DataFrame(rows, columns=MEMBERS).to_csv(index=False))
            write_json(open_group.path / "strategy.json", {"kind": "vmap", "at_once": 6})
    return folder


def fill_members(folder: SweepFolder, accuracies: Mapping[int, float]) -> None:
    """Write the run folders of the members of finished groups, as far as tables are made of them.

    Args:
        folder: of `make_sweep`.
        accuracies: number of a member -> its accuracy.
    """
    for group in folder.read()["groups"]:
        for number in group["members"] if folder.group(group["name"]).has_table() else ():
            run, accuracy = folder.group(group["name"]).member(number), accuracies[number]
            run.mkdir(parents=True)
            summary = {
                "finished": True,
                "step": 1,
                "accuracy": accuracy,
                "accuracy_low": accuracy - 0.1,
                "accuracy_high": 1.0,
                "layer": 1,
                "floors": {"best": FLOOR},
                "verdict": "induction",
                "probabilities": {"induction": 0.9},
            }
            write_json(run / "summary.json", summary)
            rows = [{"step": 1, "split": "train", "accuracy": 1.0},
                    {"step": 1, "split": "dev", "accuracy": 0.7}]  # fmt: skip
            (run / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            places = [
                ("key", "restore", "attribution", 1, 0.1),
                ("value", "restore", "attribution", 1, 0.2),
                ("key", "damage", "attribution", 1, 0.3),
                ("key", "restore", "kl", 1, 0.4),
                ("key", "restore", "attribution", 0, 0.5),
            ]
            columns = ["corruption", "direction", "metric", "step", "value"]
            table = pd.DataFrame(places, columns=columns)
            table = table.assign(site="block_1/block_input", role="value", low=0.0, high=1.0)
            table["documents"] = 8
            table.to_csv(run / "interchange.csv", index=False)
