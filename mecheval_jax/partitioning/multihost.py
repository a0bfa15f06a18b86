"""Several processes, usually one per host, that run as one program.

Every process runs the same program on the same values and sees all devices as one mesh; `jax`
moves data between them. Process 0 is the coordinator and the only one that reports progress or,
except for checkpoints, writes files (`on_main`). `initialize` passes flags, or the values of the
cluster that started the process, to ``jax.distributed``; see docs/hosts.md for the variables.

If a process is lost, the others cannot continue. There are three ways to notice: `initialize` can
watch for losses and call a function at once; inside `raise_on_host_loss` the error of a collective
becomes a `HostLost`; and any other failure, such as a process that hangs, lets jax end all
processes with SIGABRT after `HEARTBEAT` seconds.
"""

import collections
import contextlib
import contextvars
import functools
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from mecheval_jax.array_types import PyTree
from mecheval_jax.console import CONSOLE
from mecheval_jax.errors import Interrupted, UserError, one_line
from mecheval_jax.partitioning.cluster import check_flags, find_cluster
from mecheval_jax.partitioning.failure_detector import watch

TIMEOUT = 300
"""Time limit for all processes to connect, in seconds."""

HEARTBEAT = 60
"""Seconds without a heartbeat after which a process counts as dead."""

FAREWELL = 10
"""Seconds for which a failing process waits for others that fail with it."""


class HostLost(Interrupted):
    """Another process was lost, and this one cannot continue without it."""

    def __init__(self, what: str):
        super().__init__(f"{what}; the same command, started on every host, resumes")


class HostFailed(Interrupted):
    """The first process met with an error, and tells so before it ends."""

    def __init__(self, what: str):
        super().__init__(
            f"host 0 failed ({what}); the same command, started on every host, resumes"
        )


class HostsMissing(UserError):
    """Other processes did not connect, or cannot be found."""


def initialize(
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
    timeout: int = TIMEOUT,
    on_loss: Callable[[HostLost], None] | None = None,
) -> None:
    """Connect to the other processes, if there are any.

    Arguments that are None are taken from the environment of Slurm, Open MPI, an indexed job of
    Kubernetes or a TPU pod. To be called before anything is computed.

    Args:
        coordinator: Address ``host:port`` on which process 0 listens.
        processes: Number of processes; 1 for a process on its own, whatever the environment says.
        process_id: Number of this process, from 0.
        timeout: Time limit for the others to connect, in seconds.
        on_loss: Function that is called from a thread when a process is lost; it should end
            this process.

    Raises:
        UserError: If values are missing or contradict each other, or others do not connect.
    """
    explicit = None not in (coordinator, processes, process_id)
    # Alone or with all flags in a cluster too: whatever its variables say.
    cluster = None if processes == 1 or explicit else find_cluster()
    check_flags(coordinator, processes, process_id, cluster)
    if cluster is not None:
        processes = cluster.processes if processes is None else processes
        process_id = cluster.process_id if process_id is None else process_id
    if processes == 1 or (cluster is None and not explicit):
        return
    arguments = {
        "coordinator_address": coordinator,
        "num_processes": processes,
        "process_id": process_id,
        # With all flags given, a cluster's variables would only hide devices from the process.
        "cluster_detection_method": "deactivate" if explicit else None,
        "heartbeat_timeout_seconds": HEARTBEAT,
        "shutdown_timeout_seconds": HEARTBEAT,
    }
    _start(arguments, timeout, may_be_alone=cluster is not None and cluster.name == "TPU")
    CONSOLE.quiet = not is_main()
    if on_loss is not None and jax.distributed.is_initialized():
        watch(lambda number: on_loss(HostLost(f"host {number} is gone")))


def _start(arguments: Mapping[str, Any], timeout: int, *, may_be_alone: bool) -> None:
    """Call ``jax.distributed.initialize``, with a time limit that raises.

    Args:
        arguments: Arguments of the call.
        timeout: Time limit, in seconds.
        may_be_alone: Whether a cluster that names no coordinator means one process.

    Raises:
        HostsMissing: If the other processes do not connect, or cannot be found.
        UserError: If jax has begun before.
    """
    failure: list[Exception] = []

    def connect() -> None:
        try:
            # jax aborts the process at its own time limit, which must not come first.
            jax.distributed.initialize(**arguments, initialization_timeout=10 * timeout)
        except Exception as error:
            failure.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    where = arguments["coordinator_address"] or "the address of the cluster"
    if thread.is_alive():
        raise HostsMissing(
            f"not all of the {arguments['num_processes'] or ''} processes came to {where} within "
            f"{timeout} s: start all of them, with the same --coordinator and --processes"
        )
    if not failure:
        return
    if may_be_alone and isinstance(failure[0], ValueError):  # "... must be defined"
        return
    if "must be called before" in str(failure[0]):
        raise UserError(
            "a config file computes with jax as it is read, before the processes have met; numpy, "
            "or a function that is called later, can be used there"
        )
    raise HostsMissing(
        f"the other processes cannot be found ({failure[0]}): give --coordinator=host:port (and "
        "--processes and --process_id, where no cluster numbers them), or --processes=1 to run on "
        "this host alone"
    )


def is_main() -> bool:
    """Whether this is process 0, which writes files."""
    return jax.process_index() == 0


def is_multiprocess() -> bool:
    """Whether there are other processes."""
    return jax.process_count() > 1


def fetch(tree: PyTree) -> PyTree:
    """All values of a tree, on the host of every process; all processes must call it."""

    def whole(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
            return leaf
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.device_get(jax.tree.map(whole, tree))


def shard(tree: PyTree, sharding: Sharding) -> PyTree:
    """Spread arrays, equal on every process, over all devices.

    Every process places the parts of its own devices.
    """
    if not is_multiprocess():
        return jax.device_put(tree, sharding)

    def spread(leaf: Any) -> jax.Array:
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(spread, tree)


_ALONE = contextvars.ContextVar("alone", default=False)
"""Whether process 0 runs a function that the others wait for."""


def on_main(action: Callable[[], Any]) -> Any:
    """Run a function on process 0 alone, and return its result on every process.

    The others wait until it has returned, and so find all files that it wrote. Inside of it,
    `on_main` runs functions at once.

    Args:
        action: Function that returns a JSON value.

    Raises:
        UserError: If the function raises it, on every process.
        HostFailed: If the function raises another error on process 0, on every other.
    """
    if not is_multiprocess() or _ALONE.get():
        return action()
    outcome: dict[str, Any] = {}
    fault = None
    if is_main():
        alone = _ALONE.set(True)
        try:
            outcome["value"] = action()
        except UserError as error:
            outcome["error"] = str(error)
        except Exception as error:
            # Raised here once the others know: they would wait, and take this process's next
            # message for the result.
            fault, outcome["fault"] = error, f"{type(error).__name__}: {one_line(error, 160)}"
        finally:
            _ALONE.reset(alone)
    text = np.frombuffer(json.dumps(outcome).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = np.zeros(length, np.uint8)
    if is_main():
        padded[:] = text
    text = bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded)))
    outcome = json.loads(text)
    if fault is not None:
        raise fault
    if "fault" in outcome:
        raise HostFailed(outcome["fault"])
    if "error" in outcome:
        raise UserError(outcome["error"])
    return outcome["value"]


def by_main(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that process 0 alone runs it and all get its result; see `on_main`."""

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        return on_main(lambda: function(*arguments, **options))

    return called


def all_can(ours: bool) -> bool:
    """Whether `ours` is true on every process."""
    if not is_multiprocess():
        return ours
    return bool(multihost_utils.process_allgather(np.int32(ours)).all())


def assert_equal_across_hosts(**values: str) -> None:
    """Check that every process has the same values and equally many devices.

    Args:
        **values: Values as texts, by the name that the message uses.

    Raises:
        UserError: If they differ, on every process; the message names the values, and the
            processes that differ from process 0.
    """
    if not is_multiprocess():
        return
    devices = collections.Counter(device.process_index for device in jax.devices())
    if len(set(devices.values())) > 1:
        listed = ", ".join(f"host {host} has {devices[host]}" for host in sorted(devices))
        raise UserError(f"the hosts need equally many devices: {listed}")
    digests = [hashlib.sha256(text.encode()).digest()[:8] for text in values.values()]
    ours = np.frombuffer(b"".join(digests), np.uint32).reshape(len(values), 2)
    all_of_them = multihost_utils.process_allgather(ours)
    different = (all_of_them != all_of_them[:1]).any(axis=2)  # [process, value]
    if different.any():
        names = [name for name, any_of in zip(values, different.any(axis=0), strict=True) if any_of]
        others = ", ".join(str(host) for host in np.flatnonzero(different.any(axis=1)))
        raise UserError(
            f"the hosts disagree: not as on host 0 is, on host {others}, the "
            f"{' and the '.join(names)}; start all with the same command and the same versions"
        )


LOST = ("Gloo", "NCCL", "CoordinationService", "UNAVAILABLE", "DEADLINE_EXCEEDED", "BarrierError")
"""Words in the errors of operations that wait for a lost process."""


@contextlib.contextmanager
def raise_on_host_loss() -> Iterator[None]:
    """Turn errors inside that are due to a lost process into `HostLost`.

    Raises:
        HostLost: If an error inside says that another process was lost.
    """
    try:
        yield
    except (UserError, Interrupted):
        raise
    except Exception as error:
        if is_multiprocess() and any(word in str(error) for word in LOST):
            raise HostLost(f"another host is gone ({one_line(error, 160)})") from error
        raise


def exit_all(code: int, error: object) -> NoReturn:
    """End this process, one of several, because of an error.

    It waits up to `FAREWELL` seconds for the others to end too. If they do not, it ends without
    the usual cleanup, in which jax would wait for the others and then abort.

    Args:
        code: Exit code.
        error: Error that is the cause.
    """
    from jax._src.distributed import global_state  # the only barrier with a time limit

    try:
        if isinstance(error, HostLost) and global_state.process_id == 0:
            # Without the coordinator, jax would abort the others before they report the loss.
            time.sleep(FAREWELL / 5)
        if not isinstance(error, HostLost | HostsMissing):
            global_state.client.wait_at_barrier("mecheval_jax_leave", FAREWELL * 1000)
            sys.exit(code)
    except jax.errors.JaxRuntimeError:
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
