"""Runs that are broken off go on, bit for bit, as if nothing had been."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.training.checkpoints import Checkpoints
from tests.support import small
from tests.support.killed_run import EXPERIMENT


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of 40 steps from beginning to end; its checkpoints are those of 30 and 40."""
    return runs.train(EXPERIMENT, tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.fixture
def broken_off(undisturbed, tmp_path):
    """A copy of that run that never came to its summary."""
    shutil.copytree(undisturbed.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    folder.summary.unlink()
    return folder


def newest_state(folder):
    checkpoints = Checkpoints(folder.checkpoints)
    state = checkpoints.restore(small.programs(EXPERIMENT).saved_form)
    checkpoints.close()
    return state


def resume(folder, capsys):
    """Run on to the end; what it told the user."""
    capsys.readouterr()
    runs.train(EXPERIMENT, folder.path)
    return capsys.readouterr().err


def assert_same_run(folder, undisturbed):
    state = newest_state(folder)
    assert int(state["step"]) == 40
    small.assert_same_bits(state, newest_state(undisturbed))
    assert folder.read_summary() == undisturbed.read_summary()

    def rows(run):
        text = run.metrics.read_text()
        assert text.count("\n") == len(run.read_metrics())  # nothing is left of a row cut off
        return [{n: v for n, v in r.items() if n != "seconds_per_step"} for r in run.read_metrics()]

    assert rows(folder) == rows(undisturbed)


@pytest.mark.parametrize(
    ("moment", "step", "resumed_at"),
    [("row", 5, {None}), ("row", 25, {20}), ("save", 20, {10, 20})],
)
def test_a_killed_run_resumes_bit_for_bit(moment, step, resumed_at, undisturbed, tmp_path, capsys):
    """Catches a state that lacks something, data that start anew, and rows lost or doubled."""
    folder = RunFolder(tmp_path / "run")
    killed = small.start(["-m", "tests.support.killed_run", str(folder.path), moment, str(step)])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not folder.summary.exists()
    said = resume(folder, capsys)
    assert any(
        f"resuming at step {at}" in said if at else "resuming" not in said for at in resumed_at
    )
    assert_same_run(folder, undisturbed)


def data_files(checkpoint):
    return [path for path in (checkpoint / "default").rglob("*") if path.is_file()]


def cut_files(checkpoint):
    for path in data_files(checkpoint):
        os.truncate(path, path.stat().st_size // 2)


def delete_data(checkpoint):
    for path in data_files(checkpoint):
        if path.parent.name == "d":
            path.unlink()


def delete_all_but_the_folder(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


@pytest.mark.parametrize("damage", [cut_files, delete_data, delete_all_but_the_folder])
def test_a_damaged_checkpoint_is_passed_over(damage, undisturbed, broken_off, capsys):
    """Catches a crash on a damaged file, a silent fresh start, and the damage taken for good."""
    damage(broken_off.checkpoints / "40")
    said = resume(broken_off, capsys)
    assert "the checkpoint of step 40 cannot be read" in said
    assert "damaged_40" in said
    assert "resuming at step 30" in said
    assert_same_run(broken_off, undisturbed)
    assert (broken_off.checkpoints / "damaged_40").is_dir()


def test_a_step_that_is_damaged_twice_is_saved_again(undisturbed, broken_off, capsys):
    """Catches the second damage keeping its place, so that the step could not be saved."""
    for kept_as in ("damaged_40", "damaged_40_2"):
        cut_files(broken_off.checkpoints / "40")
        broken_off.summary.unlink(missing_ok=True)
        assert f"kept as {kept_as}\n" in resume(broken_off, capsys)
        assert_same_run(broken_off, undisturbed)


@pytest.mark.parametrize("damage", [cut_files, delete_data, delete_all_but_the_folder])
def test_a_finished_run_whose_last_checkpoint_is_damaged(damage, undisturbed, tmp_path, capsys):
    """Catches a run that counts as finished for ever, and one of which is said that it is gone."""
    folder = runs.RunFolder(shutil.copytree(undisturbed.path, tmp_path / "copy"))
    damage(folder.checkpoints / "40")
    said = resume(folder, capsys)
    assert "damaged_40" in said
    assert "resuming at step 30" in said
    assert "finished, and its newest checkpoint is set aside: trained again from step 30" in said
    assert_same_run(folder, undisturbed)
    assert "nothing to train" in resume(folder, capsys)


def leave_files(checkpoints):
    for folder in ("", "40", "40/default", "40/default/d"):
        (checkpoints / folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


def leave_numbers(checkpoints):
    (checkpoints / "50").write_text("notes")
    shutil.copytree(checkpoints / "40", checkpoints / "050")


def copy_over_another(checkpoints):
    """As of a run that is copied to where an earlier one of the same name was."""
    shutil.move(checkpoints / "40", checkpoints / "copy")
    shutil.copytree(checkpoints / "30", checkpoints / "40")
    shutil.copytree(checkpoints / "copy", checkpoints / "40", dirs_exist_ok=True)


@pytest.mark.parametrize("stray", [leave_files, leave_numbers, copy_over_another])
def test_strangers_among_the_checkpoints(stray, undisturbed, tmp_path, capfd):
    """Catches a whole run that is trained again for a file that nobody reads."""
    folder = runs.RunFolder(shutil.copytree(undisturbed.path, tmp_path / "copy"))
    stray(folder.checkpoints)
    capfd.readouterr()
    runs.train(EXPERIMENT, folder.path)
    run = runs.load(folder.path)
    assert capfd.readouterr().err == f"{folder.path}: this run is finished, nothing to train\n"
    assert run.step == 40
    small.assert_same_bits(run.params, runs.load(undisturbed.path).params)


def test_a_file_that_orbax_would_read_unchecked(broken_off, capsys):
    """Catches places of arrays of another machine's run, which orbax reads wherever they are."""
    of_arrays = broken_off.checkpoints / "40" / "default" / "array_metadatas"
    shutil.copy(of_arrays / "process_0", of_arrays / "process_1")
    assert runs.load(broken_off.path).step == 30
    assert "process_1 has no hash" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"item_handlers": 3}'])
def test_what_stands_beside_a_checkpoint(content, undisturbed, broken_off, capfd):
    """Catches a traceback, or a step passed over, for notes of orbax that nobody needs."""
    for step in ("30", "40"):
        (broken_off.checkpoints / step / "_CHECKPOINT_METADATA").write_bytes(content)
    cut_files(broken_off.checkpoints / "40")
    capfd.readouterr()
    assert runs.load(broken_off.path, 30).step == 30
    assert not capfd.readouterr().err
    runs.train(EXPERIMENT, broken_off.path)
    assert "absl" not in capfd.readouterr().err
    assert_same_run(broken_off, undisturbed)


def test_what_is_saved_between_intervals_goes_when_it_is_not_the_newest(tmp_path):
    """Catches other checkpoints in the end than those of a run that nothing disturbed."""
    tree = {"a": jnp.ones(3)}
    for keep, left in ((2, [30, 37]), (None, [10, 20, 30, 37])):
        folder = tmp_path / str(keep)
        training = small.experiment(steps=37, checkpoint_every=10, keep_checkpoints=keep).training
        with contextlib.closing(Checkpoints.of_training(folder, training)) as checkpoints:
            for step in (10, 14, 20):
                checkpoints.save(step, tree)
        assert 14 not in checkpoints.steps()
        with contextlib.closing(Checkpoints.of_training(folder, training)) as checkpoints:
            for step in (30, 33):
                checkpoints.save(step, tree)
        with contextlib.closing(Checkpoints.of_training(folder, training)) as checkpoints:
            assert checkpoints.steps()[-1] == 33  # the newest is what a resumed run begins from
            checkpoints.save(37, tree)
        with contextlib.closing(Checkpoints.of_training(folder, training)) as checkpoints:
            assert checkpoints.steps() == left


def test_milestones_stay(tmp_path):
    """Catches a run of which nothing on the way is left, and milestones that fill the disk."""
    training = small.experiment(steps=100, checkpoint_every=10, milestones=3).training
    for step in (10, 20, 30, 34, 40, 50, 60, 70, 80, 90, 100):
        # Each in a program of its own, as of a run that is resumed again and again.
        with contextlib.closing(Checkpoints.of_training(tmp_path, training)) as checkpoints:
            checkpoints.save(step, {"a": jnp.ones(3)})
    with contextlib.closing(Checkpoints.of_training(tmp_path, training)) as checkpoints:
        assert checkpoints.steps() == [30, 50, 80, 90, 100]


REFUSALS = {
    "the file system lost it": OSError(errno.ESTALE, os.strerror(errno.ESTALE), "40"),
    "no memory": MemoryError(),
    "a device that others fill": ValueError("RESOURCE_EXHAUSTED: Out of memory allocating"),
}


@pytest.mark.parametrize("error", REFUSALS.values(), ids=REFUSALS)
def test_what_the_machine_refuses_is_no_damage(error, broken_off, monkeypatch):
    """Catches whole checkpoints set aside, and a run begun anew, for an error that passes."""
    before = broken_off.metrics.read_bytes()

    def refuse(*arguments):
        raise error

    monkeypatch.setattr(Checkpoints, "_read", refuse)
    with pytest.raises(UserError):
        runs.train(EXPERIMENT, broken_off.path)
    with pytest.raises(UserError):
        runs.load(broken_off.path)
    assert broken_off.metrics.read_bytes() == before
    assert sorted(path.name for path in broken_off.checkpoints.glob("*0")) == ["30", "40"]


def test_all_checkpoints_damaged(undisturbed, broken_off, capsys):
    """Catches a crash, and metrics of the lost steps that stay beside those taken again."""
    for step in ("30", "40"):
        cut_files(broken_off.checkpoints / step)
    said = resume(broken_off, capsys)
    for step in (30, 40):
        assert f"the checkpoint of step {step} cannot be read" in said
    assert "resuming" not in said
    assert "starting anew" in said
    assert_same_run(broken_off, undisturbed)


def test_a_partial_checkpoint_is_ignored(undisturbed, broken_off, capsys):
    """Catches a checkpoint that was never finished being taken for one that was."""
    checkpoint = broken_off.checkpoints / "40"
    delete_data(checkpoint)
    for marker in broken_off.checkpoints.rglob("40/**/commit_success.txt"):
        marker.unlink()
    checkpoint.rename(broken_off.checkpoints / "40.orbax-checkpoint-tmp")
    said = resume(broken_off, capsys)
    assert "cannot be read" not in said
    assert "resuming at step 30" in said
    assert_same_run(broken_off, undisturbed)


def test_a_run_killed_after_its_last_checkpoint(undisturbed, broken_off, capsys):
    """Catches a step too many, and a summary that is missing for good."""
    assert "resuming at step 40" in resume(broken_off, capsys)
    assert_same_run(broken_off, undisturbed)


def test_load_takes_the_newest_checkpoint_that_can_be_read(undisturbed, broken_off, tmp_path):
    """Catches parameters of another step than is said, and an error that names nothing."""
    whole = runs.load(undisturbed.path)
    assert whole.step == 40
    small.assert_same_bits(whole.params, jax.device_get(newest_state(undisturbed)["params"]))
    cut_files(broken_off.checkpoints / "40")
    assert runs.load(broken_off.path).step == 30
    cut_files(broken_off.checkpoints / "30")
    with pytest.raises(UserError, match="no checkpoint that can be read"):
        runs.load(broken_off.path)
    with pytest.raises(UserError, match="holds no run"):
        runs.load(tmp_path / "nothing")


def test_only_the_newest_are_kept(undisturbed):
    """Catches checkpoints that fill the disk."""
    names = {path.name for path in pathlib.Path(undisturbed.checkpoints).iterdir()}
    assert names == {"30", "40"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": 2}, "params/block_1/.* is not in it"),
        ({"output_norm": "none"}, "it has params/output_norm.*, which the model has not"),
        ({"width": 32}, r"params/.* is saved as \(.*\b16\b.*\), and is here \(.*\b32\b"),
    ],
)
def test_a_config_that_was_changed_by_hand(change, said, undisturbed, broken_off, capsys):
    """Catches layers that nobody trained, full of zeros, and a whole checkpoint set aside."""
    values = json.loads(broken_off.config.read_text())
    values["model"] |= change
    broken_off.config.write_text(json.dumps(values))
    for step in (None, 40):
        with pytest.raises(UserError, match=f"step 40 .* is of another model .*: {said}"):
            runs.load(broken_off.path, step)
    assert {path.name for path in broken_off.checkpoints.iterdir()} == {"30", "40"}


TREE = {
    "step": np.int32(3),
    "params": {"a": np.arange(600, dtype=np.float32).reshape(20, 30), "b": np.ones(7, np.float32)},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a small checkpoint."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        checkpoints.save(3, TREE)
    return folder


def flip(folder, draw):
    """Change one bit of one file, each file as likely as another."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path = files[draw.integers(len(files))]
    content = bytearray(path.read_bytes())
    content[draw.integers(len(content))] ^= 1 << int(draw.integers(8))
    path.write_bytes(content)
    return path.name


@pytest.mark.parametrize(
    ("flips", "rows"), [(16, 1), *(pytest.param(200, n, marks=pytest.mark.slow) for n in (1, 2000))]
)
def test_a_flipped_bit_is_noticed_or_harmless(tmp_path, flips, rows):
    """Catches other numbers than were saved, which are taken without a word; 5 MB of them, too."""
    tree = TREE | {"large": np.random.default_rng(0).normal(size=(rows, 600)).astype(np.float32)}
    with contextlib.closing(Checkpoints(tmp_path / "saved")) as checkpoints:
        checkpoints.save(3, tree)
    draw, noticed = np.random.default_rng(flips), 0
    wanted = jax.tree.map(np.zeros_like, tree)
    for number in range(flips):
        copy = shutil.copytree(tmp_path / "saved", tmp_path / str(number))
        name, said = flip(copy, draw), []
        with contextlib.closing(Checkpoints(copy)) as checkpoints:
            found = checkpoints.restore(wanted, said.append, set_aside=False)
        shutil.rmtree(copy)
        if found is None:
            noticed += 1
            assert "the checkpoint of step 3 cannot be read" in said[0]
        else:
            assert name in ("_CHECKPOINT_METADATA", "commit_success.txt")
            small.assert_same_bits(found, tree)
    assert noticed > flips / 2


def test_checkpoints_without_hashes_are_read(saved, tmp_path, capsys):
    """Catches a run of an earlier version that cannot go on, and one read without a word."""
    copy = shutil.copytree(saved, tmp_path / "copy")
    (copy / "3" / "default" / "SHA256SUMS").unlink()
    with contextlib.closing(Checkpoints(copy)) as checkpoints:
        small.assert_same_bits(checkpoints.restore(jax.tree.map(np.zeros_like, TREE)), TREE)
    assert "has no SHA256SUMS" in capsys.readouterr().err


@pytest.mark.parametrize(
    "stand", [pathlib.Path.touch, os.mkfifo, lambda path: path.symlink_to("nowhere")]
)
def test_no_folder_in_its_place(stand, tmp_path):
    """Catches steps that are computed until the first save, and are lost there."""
    stand(tmp_path / "checkpoints")
    with pytest.raises(UserError, match=r"checkpoints cannot be made: .* is no folder"):
        Checkpoints(tmp_path / "checkpoints")


def test_a_folder_that_is_gone(saved, tmp_path):
    """Catches minutes of silence, and a checkpoint in a folder that nobody knows."""
    copy = shutil.copytree(saved, tmp_path / "copy")
    checkpoints = Checkpoints(copy)
    shutil.rmtree(copy)
    with pytest.raises(UserError, match="copy is gone: the workdir was removed or moved"):
        checkpoints.save(4, TREE)
    assert not copy.exists()
