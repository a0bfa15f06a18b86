"""Checkpoints of training (orbax), restored onto the devices that will hold them.

What one holds is `training.state.SAVED`: step, parameters, optimizer state, and how members ended.
The hashes of its files are part of it from the moment it counts as written, and are compared before
anything of it is read: orbax does not notice a byte that has changed.
"""

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from mecheval_jax import machine
from mecheval_jax.array_types import PyTree
from mecheval_jax.checksums import SUMS, check_sums, write_sums
from mecheval_jax.errors import UserError, choose, one_line
from mecheval_jax.files import check_folder, gone
from mecheval_jax.partitioning.multihost import all_can, on_main, shard
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.state import NEVER

LATER = {"diverged_at": NEVER, "stopped_at": NEVER}
"""Fields that checkpoints up to version 0.4 lack, with the values they would have."""

ITEM = "default"
"""Folder of a checkpoint in which orbax keeps the tree."""

PARAMS = "params"
"""The part of a checkpoint that has to be that of the model, array by array."""

READ = re.compile(r"_METADATA|_sharding|manifest\.ocdbt|array_metadatas/.+")
"""Names of the files of a checkpoint that orbax looks for; the manifest names the rest. Others do
no harm: the mark that it adds after all others, what a file manager leaves, or data of another run
over which this one was copied."""

NAMES = ocp.path.step.standard_name_format()
"""How folders of checkpoints are named: by their steps."""


class _Summed(ocp.PyTreeCheckpointHandler):
    """Handler that adds the hashes of all files before a checkpoint counts as written."""

    def finalize(self, directory: Any) -> None:
        """Called by orbax on the first process, when all have written their parts."""
        super().finalize(directory)
        write_sums(pathlib.Path(directory))


@ocp.args.register_with_handler(_Summed, for_save=True)
@dataclasses.dataclass
class _Save(ocp.args.PyTreeSave):
    """Arguments of a save; from their type orbax knows that `_Summed` handles it."""


@ocp.args.register_with_handler(_Summed, for_restore=True)
@dataclasses.dataclass
class _Restore(ocp.args.PyTreeRestore):
    """Arguments of a restore; from their type orbax knows that `_Summed` handles it."""


@jax.jit
def _copy(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, tree)


def _owned(tree: PyTree) -> PyTree:
    """The tree, its arrays on devices copied; those of the host are nobody else's."""
    on_host = all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(tree))
    return tree if on_host else _copy(tree)


@dataclasses.dataclass(frozen=True)
class _Kept:
    """Which checkpoints are kept (a preservation policy of orbax).

    These are the newest regular ones, and milestones.

    One that was saved between two intervals, where a run was told to end, is kept only as long as
    it is the newest: in the end there are those of an undisturbed run.

    Attributes:
        most: Number of regular ones that are kept; all if None.
        regular: Function that says whether an undisturbed run has a checkpoint at a step.
        milestone: Function that says whether a regular one stays however many come behind it.
    """

    most: int | None
    regular: Callable[[int], bool]
    milestone: Callable[[int], bool]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Called by orbax at every save, with what is there and what is being saved."""
        steps = [one.step for one in checkpoints]
        regular = sorted(step for step in steps if self.regular(step))
        newest = regular[-self.most :] if self.most else regular
        kept = {max(steps), *newest, *filter(self.milestone, regular)}
        return [step in kept for step in steps]


def damage(folder: pathlib.Path) -> str | None:
    """What is wrong with the files of the newest checkpoint in a folder; None if nothing is.

    There may be no checkpoint, or one without hashes (of version 0.4): nothing is said of these.
    """
    steps = [one.step for one in NAMES.find_all(folder)] if folder.is_dir() else []
    if not steps:
        return None
    item = folder / str(max(steps)) / ITEM
    try:
        _check_filled(item)
        if (item / SUMS).exists():
            check_sums(item, READ.fullmatch)
    except UserError as error:
        return f"the checkpoint of step {max(steps)} is damaged ({error})"
    return None


def _check_filled(item: pathlib.Path) -> None:
    """Raise UserError if a checkpoint has no files."""
    if not any(path.is_file() for path in item.rglob("*")):
        raise UserError("it is empty")


class OtherModel(UserError):
    """What is saved is whole, and of another model."""


def _check_same(wanted: PyTree, saved: PyTree, *, any_length: bool) -> None:
    """Check that the saved parameters are those that are wanted, and all arrays of their shapes.

    Orbax would fill up with zeros what is missing, and read arrays of any shape.

    Args:
        wanted: Abstract tree.
        saved: Metadata of the tree that is there.
        any_length: Whether the first axes may differ.

    Raises:
        OtherModel: If they are not; the message names the first difference.
    """
    known, asked = (ocp.tree.to_flat_dict(tree) for tree in (saved, wanted))
    of_model = [path for path in (*asked, *known) if path[0] == PARAMS and PARAMS in wanted]
    start = 1 if any_length else 0
    for path in dict.fromkeys((*asked, *of_model)):
        name = "/".join(map(str, path))
        if path not in known:
            if path in of_model:
                raise OtherModel(f"{name} is not in it")
        elif path not in asked:
            raise OtherModel(f"it has {name}, which the model has not")
        elif known[path].shape[start:] != asked[path].shape[start:]:
            raise OtherModel(
                f"{name} is saved as {known[path].shape}, and is here {asked[path].shape}"
            )


def _of_any_length(of_leaf: ocp.RestoreArgs) -> ocp.RestoreArgs:
    """Arguments that cut or fill up an array on devices; one of the host is read as it is."""
    on_devices = isinstance(of_leaf, ocp.ArrayRestoreArgs)
    return dataclasses.replace(of_leaf, strict=False) if on_devices else of_leaf


def _full(wanted: jax.ShapeDtypeStruct, value: int) -> PyTree:
    return shard(np.full(wanted.shape, value, wanted.dtype), wanted.sharding)


class Checkpoints:
    """The checkpoints of one run, in a folder that all processes see.

    Every process calls every method, at the same point: each writes and reads what its devices
    hold, and it may be read back by another number of processes on another number of devices.

    Args:
        folder: Folder of the checkpoints.
        keep: Number of the newest that are kept; all if None.
        regular: Function that says whether an undisturbed run has a checkpoint at a step; others
            are kept only while they are the newest.
        milestone: Function that says which of these stay, however many come behind them.
        any_length: Whether arrays may have another first axis than was saved. Those on devices are
            cut, or filled up with zeros; those of the host are read as they are. Members of a group
            need it, which fill up other devices elsewhere.

    Attributes:
        lost: Number of checkpoints that were set aside, since they cannot be read.

    Raises:
        UserError: If something else than a folder stands in its place.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        keep: int | None = 2,
        *,
        regular: Callable[[int], bool] = lambda step: True,
        milestone: Callable[[int], bool] = lambda step: False,
        any_length: bool = False,
    ):
        self._folder = folder.absolute()  # orbax refuses relative paths
        # It would find out at the first save, after the steps until then.
        on_main(lambda: check_folder(self._folder, "folder of checkpoints"))
        self._any_length = any_length
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=_Kept(keep, regular, milestone),
            create=True,
            step_name_format=NAMES,
            lightweight_initialize=True,  # reads no times, which damage may have made unreadable
        )
        # Named here, or orbax guesses the layout from the newest folder, which may be damaged.
        self._handler = _Summed()
        self._manager = self._new_manager()
        self.lost = 0

    def _new_manager(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(
            self._folder, options=self._options, item_handlers=self._handler
        )

    @classmethod
    def of_training(
        cls, folder: pathlib.Path, training: TrainingConfig, *, any_length: bool = False
    ) -> "Checkpoints":
        """Those of a training, of which so many are kept as its config says."""
        keep = training.keep_checkpoints or None
        kept = {"regular": training.is_saved, "milestone": training.is_milestone}
        return cls(folder, keep, **kept, any_length=any_length)

    def steps(self) -> list[int]:
        """Steps of which a checkpoint exists, in order."""
        return sorted(self._manager.all_steps())

    def has_whole(self, step: int | None) -> bool:
        """Whether there is a checkpoint of a step, and the newest one is what was written."""
        return step in self.steps() and on_main(lambda: damage(self._folder)) is None

    def save(self, step: int, tree: PyTree) -> None:
        """Write a tree, in the background; a step that exists already is left alone.

        Raises:
            UserError: If the folder is there no more, or the machine refuses the write, or refused
                the one before.
        """
        with self._writing():
            if step not in self._manager.all_steps():
                # The loop donates its buffers to the next steps: the write needs its own.
                self._manager.save(step, args=_Save(_owned(tree)))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Context of a write, in which a refusal of the machine becomes an error of one line."""
        if not self._folder.is_dir():  # orbax would wait for it for minutes
            raise UserError(gone(self._folder))
        try:
            yield
        except Exception as error:
            if not self._folder.is_dir():
                raise UserError(gone(self._folder)) from error
            refused = machine.explain(error)
            if refused is None:
                raise
            raise refused from error

    def restore(
        self, abstract: PyTree, say: Callable[[str], None] | None = None, *, set_aside: bool = True
    ) -> PyTree | None:
        """The newest checkpoint that can be read, or None.

        Args:
            abstract: Shapes, types and shardings of the tree.
            say: Told of every checkpoint that cannot be read.
            set_aside: Whether to rename a checkpoint that cannot be read to ``damaged_STEP``, so
                that training can save its step again. A program that only reads passes False, and
                the folder stays as it is.

        Raises:
            UserError: If the machine refuses to read one, which may be whole, or one is of another
                model.
        """
        for step in reversed(self.steps()):
            state, reason, refused = None, "another host cannot read it", None
            try:
                state = self._read(step, abstract)
            except OtherModel as error:
                refused = self._other_model(step, error)
            except Exception as error:  # whatever a damaged file makes orbax raise
                reason = one_line(error, 120) or repr(error)
                refused = machine.explain(error, self._folder, passed_over=machine.NAMED)
            if all_can(state is not None):
                return state
            if not all_can(refused is None):
                raise refused or UserError(
                    f"another host is refused the checkpoint of step {step} in {self._folder}"
                )
            fate = f"kept as {self._set_aside(step)}" if set_aside else "passed over"
            if say is not None:
                say(f"the checkpoint of step {step} cannot be read ({reason}): it is {fate}")
        return None

    def _read(self, step: int, abstract: PyTree) -> PyTree:
        item = self._folder / str(step) / ITEM
        on_main(lambda: _check_filled(item))
        on_main(lambda: check_sums(item, READ.fullmatch))
        # By the handler, not the manager: that reads what stands beside the item, too, which has no
        # hash, and of which nothing is needed.
        known = self._handler.metadata(item).tree
        absent = {name: value for name, value in LATER.items() if name not in known}
        asked, abstract = abstract, {n: of for n, of in abstract.items() if n not in absent}
        _check_same(abstract, known, any_length=self._any_length)
        restore_args = ocp.checkpoint_utils.construct_restore_args(abstract)
        if self._any_length:
            restore_args = jax.tree.map(_of_any_length, restore_args)
        arguments = _Restore(
            abstract,
            restore_args=restore_args,
            partial_restore=True,  # of what earlier versions saved beside it, nothing is needed
        )
        saved = self._handler.restore(item, args=arguments)
        return {**saved, **{n: _full(asked[n], absent[n]) for n in asked.keys() & absent.keys()}}

    def read(self, step: int, abstract: PyTree) -> PyTree:
        """The checkpoint of one step.

        Raises:
            UserError: If there is none, or it cannot be read, or is of another model.
        """
        choose("step", str(step), map(str, self.steps()))
        try:
            return self._read(step, abstract)
        except OtherModel as error:
            raise self._other_model(step, error) from None
        except Exception as error:  # whatever a damaged file makes orbax raise
            raise UserError(
                f"the checkpoint of step {step} in {self._folder} cannot be read: {error}"
            ) from None

    def _other_model(self, step: int, error: OtherModel) -> UserError:
        return UserError(
            f"the checkpoint of step {step} in {self._folder} is of another model than its config "
            f"describes: {error}"
        )

    def _set_aside(self, step: int) -> str:
        """Rename a checkpoint, so that its step can be saved again; returns the new name."""
        names = (f"damaged_{step}{suffix}" for suffix in ("", *(f"_{i}" for i in range(2, 1000))))

        def rename() -> str:
            name = next(name for name in names if not (self._folder / name).exists())
            (self._folder / str(step)).rename(self._folder / name)
            return name

        name = on_main(rename)
        self._manager.close()
        self._manager = self._new_manager()  # its own reload would read the times
        self.lost += 1
        return name

    def close(self) -> None:
        """Wait for writes under way.

        Raises:
            UserError: If the folder is there no more, or the machine refused a write.
        """
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.close()
