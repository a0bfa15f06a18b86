"""Programs that are killed at any moment end as they would have, to the byte."""

import pathlib
import random
import shutil
from collections.abc import Callable

import pytest

from mecheval_jax import runs
from mecheval_jax.store.run_folder import RunFolder
from tests.support import forked, killed, small

pytestmark = pytest.mark.slow

KILLS = 50
"""Of each program: half of them at a random time, half before a random change to its folder."""

IN_A_ROW = 5
"""Kills of one folder, after which the program comes to its end there."""

RUN = {
    "task.pairs": 2,
    "task.key_vocabulary": 8,
    "task.value_vocabulary": 8,
    "model.width": 16,
    "training.batch_size": 8,
    "training.evaluate_every": 50,
    "training.evaluation_documents": 32,
    "training.checkpoint_every": 50,
    "training.steps_per_dispatch": 20,
    "evaluation.documents": 32,
    "evaluation.resamples": 100,
}
RECALL = "--config=configs/recall.py:mixer=based,width=16,layers=2,pairs=2,keys=8,steps=200"

PROGRAMS = {
    "train": ["launch.train", RECALL, *small.flags(RUN)],
    "sweep": [
        "launch.sweep",
        RECALL,
        *small.flags(RUN | {"training.target_accuracy": 0.9} | small.ONE_LAYER),
        # A rate that diverges, one that learns little, one that reaches the target.
        "--grid=training.learning_rate=1e12,1e-4,1e-2",
        "--grid=training.seed=0,1",
        "--interventions=verdict",
    ],
    "intervene": ["launch.intervene", "--steps=all"],
    "evaluate": ["launch.evaluate", "--analyses=gradients,lens,attention"],
    "report": ["launch.report"],
    "study": ["launch.study", "--smoke", "--only=mamba_taps,atr_held_out"],
}
"""Programs with their arguments, but for the workdir."""

OF_A_RUN = ("intervene", "evaluate", "report")
"""Those that work in the folder of a trained run."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that is trained and has been looked into."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    for command in (PROGRAMS["train"], PROGRAMS["intervene"]):
        done = forked.start(["-m", *command, f"--workdir={folder}"])
        assert done.returncode == 0, done.stderr
    return folder


def left_out(path: pathlib.Path) -> bool:
    """Files that say when something was, or hold the same numbers under names of their own."""
    timed = path.name in ("provenance.json", "metrics.csv") or path.match("tables/groups.*")
    return timed or "checkpoints" in path.parts


def assert_same_parameters(ours: pathlib.Path, theirs: pathlib.Path) -> None:
    """The newest checkpoints of all runs in two folders hold the same bits."""
    for config in sorted(theirs.rglob("config.json")):
        other = RunFolder(config.parent)
        loaded = [runs.load(root / other.path.relative_to(theirs)) for root in (ours, theirs)]
        assert loaded[0].step == loaded[1].step
        small.assert_same_bits(loaded[0].params, loaded[1].params)


def moments(whole: killed.Whole, draw: random.Random) -> Callable[[], dict[str, float | int]]:
    """What draws a moment for a kill, in turn a time and a change."""
    drawn = 0

    def one() -> dict[str, float | int]:
        nonlocal drawn
        drawn += 1
        if drawn % 2:
            return {"after": draw.uniform(0, whole.seconds)}
        return {"change": draw.randint(1, whole.changes)}

    return one


@pytest.mark.parametrize("program", PROGRAMS)
def test_kills_change_nothing(program, tmp_path, trained, capsys):
    """Catches whatever is lost, doubled, cut off or refused between two writes."""
    folder = tmp_path / "work"  # one for all, since reports name it
    command = [*PROGRAMS[program], f"--workdir={folder}"]

    def begin() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if program in OF_A_RUN:
            shutil.copytree(trained, folder)

    for _ in range(2):  # the second finds all programs compiled, as those do that are killed
        begin()
        whole = killed.run_whole(folder, command)
    undisturbed = folder.rename(tmp_path / "undisturbed")
    expected = killed.contents(undisturbed, left_out)
    moment, kills, folders = moments(whole, random.Random(program)), 0, 0
    while kills < KILLS:
        begin()
        folders += 1
        last = min(kills + IN_A_ROW, KILLS)
        while kills < last and killed.run_killed(folder, command, **moment()):
            kills += 1
        killed.run_whole(folder, command)
        found = killed.contents(folder, left_out)
        assert found.keys() == expected.keys()
        assert [path for path in expected if not _equal(found[path], expected[path])] == []
        assert_same_parameters(folder, undisturbed)
    with capsys.disabled():
        print(f"\n{program}: {kills} kills, {folders} folders, {whole}")


def _equal(ours: object, theirs: object) -> bool:
    """Whether contents are equal; a score that is not a number equals itself."""
    return ours == theirs or repr(ours) == repr(theirs)
