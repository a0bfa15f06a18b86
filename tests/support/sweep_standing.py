"""The folder of a sweep that is under way, without any training."""

import json
import pathlib
from typing import Any

from mecheval_jax.store.run_folder import write_json
from mecheval_jax.store.sweep_folder import GroupStatus, SweepFolder


def standing(state: str = "running", **fields: Any) -> GroupStatus:
    """The status of a group of four members."""
    return GroupStatus(state, **{"members": 4, "steps": 100, **fields})


def make_standing(path: pathlib.Path) -> SweepFolder:
    """Three groups of two members: one done, one of this process, one not begun."""
    folder = SweepFolder(path)
    folder.path.mkdir()
    groups = [
        {"name": f"g{i}", "title": f"mamba, width {16 * (i + 1)}", "members": [2 * i, 2 * i + 1]}
        for i in range(3)
    ]
    members = [{"training.seed": i, "training.steps": 100 + i} for i in range(6)]
    base = {"task": {}, "model": {}, "training": {"steps": 100}, "evaluation": {}}
    write_json(folder.sweep, {"base": base, "members": members, "groups": groups})
    arguments = ["--config=c.py", f"--workdir={folder.path}"]
    arguments += ["--shard=1/2", "--groups", "g0", "--coordinator=a:1", "--process_id=0"]
    write_json(folder.provenance, {"arguments": arguments})
    done = standing("finished", members=2, step=100, stopped=1, best_accuracy=0.9, seconds=7.0)
    folder.group("g0").write_status(done)
    half = standing(members=2, step=50, training=2, best_accuracy=0.4, rate=20.0)
    folder.group("g1").write_status(half)
    rows = [
        {"step": step, "split": split, "member": member, "loss": 1.0, "accuracy": accuracy}
        for step, split, member, accuracy in (
            (50, "dev", 0, 0.2),
            (50, "dev", 1, float("nan")),
            (100, "train", 0, 1.0),
            (100, "dev", 1, 0.9),
        )
    ]
    rows.append({"step": 150, "split": "dev", "member": 0})
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 200, "split": "dev", "acc'
    folder.group("g0").metrics.write_text(text)
    return folder
