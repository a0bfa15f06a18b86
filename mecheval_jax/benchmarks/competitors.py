"""Competitors of a benchmark, each in a process of its own, that take turns.

Libraries in one process are in each other's way: with PyTorch merely imported beside it a training
step of ours takes a quarter longer, and they share what the C library keeps of freed memory.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection

from mecheval_jax.allocator import keep_memory
from mecheval_jax.benchmarks.measured import in_rounds
from mecheval_jax.evaluation.cost.timing import repeated

REST = 0.5
"""Seconds before each turn: threads of OpenMP wait for more work by spinning, for 0.2 seconds as a
rule, and would take cores from whoever comes after PyTorch."""

WARMING = 1.0
"""Seconds of work in a turn: cores that have rested are slow at first, however short the work is.
After a rest of a second the first 40 steps of a small model take 1.25 times as long as later
ones, and the next 1.1 times."""


@dataclasses.dataclass(frozen=True)
class Competitor:
    """What a process computes in its turns.

    Attributes:
        build: Function that a new process can import; it returns the function of a turn.
        arguments: Arguments of `build`, which are sent to the process.
        keeps_memory: Whether the process keeps freed memory, as programs of ``launch/`` do.
    """

    build: Callable[..., Callable[[], object]]
    arguments: tuple = ()
    keeps_memory: bool = False


def times_of_turns(
    competitors: Mapping[str, Competitor], rounds: int, per: int = 1
) -> dict[str, tuple[float, ...]]:
    """Times of every turn of every competitor, after a first round that does not count.

    In a turn the work is repeated for as long as `WARMING`, and the last time counts.

    Args:
        competitors: The competitors, by name.
        rounds: Number of rounds.
        per: Number of units of work in a turn; times are per unit.

    Raises:
        RuntimeError: If a process fails; it has printed why.
    """
    with contextlib.ExitStack() as stack:
        turns = {
            name: stack.enter_context(_started(name, competitor))
            for name, competitor in competitors.items()
        }
        return in_rounds(turns, rounds, per)


@contextlib.contextmanager
def _started(name: str, competitor: Competitor) -> Iterator[Callable[[], float]]:
    """The seconds of a turn in a new process, which ends with the context, as a function."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")  # jax's threads do not survive a fork
    process = context.Process(target=_serve, args=(there, competitor), name=name, daemon=True)
    process.start()
    there.close()

    def received() -> float:
        try:
            return here.recv()
        except EOFError:
            raise RuntimeError(f"the process of {name!r} ended before its turn did") from None

    def turn() -> float:
        time.sleep(REST)
        here.send(True)
        return received()

    try:
        received()  # the function of a turn is built
        yield turn
    finally:
        here.close()
        process.join(timeout=10)
        process.terminate()


def _serve(pipe: Connection, competitor: Competitor) -> None:
    """Take a turn whenever one is asked for, until nobody asks any more."""
    # The other processes need room on an accelerator, too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if competitor.keeps_memory:
        keep_memory()
    work = competitor.build(*competitor.arguments)
    pipe.send(0.0)
    with contextlib.suppress(EOFError):
        while pipe.recv():
            pipe.send(repeated(work, sys.maxsize, WARMING)[-1])
