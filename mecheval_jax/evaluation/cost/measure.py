"""Rows of the table of costs: one for each model, length of context and kind of program."""

import dataclasses
import os
import statistics
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax

from mecheval_jax.console import say
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.cost import energy, timing
from mecheval_jax.evaluation.cost.measured_programs import PROGRAMS, Program
from mecheval_jax.fields import POSITIVE, Section
from mecheval_jax.machine import is_out_of_memory
from mecheval_jax.models.decoding import known_state_bytes
from mecheval_jax.models.language_model import ModelConfig, parameter_count
from mecheval_jax.partitioning.devices import device_name
from mecheval_jax.partitioning.memory import free_memory

LENGTHS = (128, 512, 2048, 8192, 32768)
"""Default lengths of context, in tokens."""

FEWEST_TOKENS = 2
"""Length of the shortest context of which costs are measured."""

SHARE = 0.5
"""Share of the free memory that a program may need by the compiler's account.

On a CPU products copy what they multiply beside that account: attention of 32,768 tokens, 13 GB by
it, took 20.
"""


@dataclasses.dataclass(frozen=True)
class CostOptions(Section, section="cost"):
    """How costs are measured.

    Attributes:
        lengths: Lengths of context, in tokens.
        programs: Kinds of program, of `PROGRAMS`.
        batch: Number of documents that decode reads at the same time; the other programs read as
            many as have `tokens` tokens together, and at least one.
        tokens: Number of tokens of a call of training or prefill.
        repeats: Number of calls that are timed.
        seconds: Seconds after which no further call of a program is begun.
        memory: Bytes that a program may need; None for half of the free memory.
    """

    lengths: tuple[int, ...] = LENGTHS
    programs: tuple[str, ...] = tuple(PROGRAMS)
    batch: int = 1
    tokens: int = 4096
    repeats: int = 7
    seconds: float = 20.0
    memory: int | None = None

    def check(self) -> None:
        """Check names and bounds."""
        self.at_least(1, "batch", "tokens", "repeats")
        self.some("lengths", give="give lengths of context in tokens")
        self.some("programs")
        self.once("lengths", "programs")
        for length in self.lengths:
            if length < FEWEST_TOKENS:
                raise UserError(
                    f"cost.lengths has {length}: a context has at least {FEWEST_TOKENS} tokens"
                )
        for name in self.programs:
            choose("program of cost.programs", name, PROGRAMS)
        self.require(POSITIVE, "seconds")

    def batch_of(self, program: str, length: int) -> int:
        """Number of documents of `length` tokens that a call of a program reads."""
        return self.batch if program == "decode" else max(1, self.tokens // length)


def this_device() -> dict[str, Any]:
    """What tells machines apart whose costs must not stand in one table."""
    device = jax.devices()[0]
    return {
        "device": device_name(device),
        "platform": device.platform,
        "cores": os.cpu_count() if device.platform == "cpu" else None,
    }


def machine() -> dict[str, Any]:
    """Description of the machine: device, rate of products and memory bandwidth."""
    return {
        **this_device(),
        "jax": jax.__version__,
        "matrix_gflops": timing.matrix_rate() / 1e9,
        "memory_gbytes_per_second": timing.memory_bandwidth() / 1e9,
    }


Key = tuple[str, int, str, int]
"""Model, length, program and number of documents of a call: what a row is a measurement of."""


def keys_of(models: Collection[str], options: CostOptions) -> set[Key]:
    """What `cost_rows` measures of models, by their names."""
    return {
        (name, length, kind, options.batch_of(kind, length))
        for name in models
        for length in options.lengths
        for kind in options.programs
    }


def cost_rows(
    models: Mapping[str, ModelConfig],
    options: CostOptions = CostOptions(),
    known: Collection[Key] = (),
) -> Iterator[dict[str, Any]]:
    """Measure models one after another, the shortest context first.

    Args:
        models: Configs of models, by their names in the table.
        options: Options of the measurement.
        known: What was measured before, as in `keys_of`, and is passed over.

    Yields:
        A row for each model, length and program: ``seconds`` is the median time of a call, ``low``
        and ``high`` the shortest and the longest, ``flops`` and ``bytes`` count one token,
        ``temporary_bytes`` one call. A program that was not measured has only a reason.
    """
    for length in sorted(options.lengths):
        for name, model in models.items():
            sized = dataclasses.replace(model, max_length=max(length, model.max_length))
            shape = {
                "model": name,
                **model.shape,
                "length": length,
                "parameters": parameter_count(sized),
                "state_bytes": known_state_bytes(sized, length),
            }
            for kind in options.programs:
                if (name, length, kind, options.batch_of(kind, length)) in known:
                    continue
                say(f"{name}, {length:,} tokens: {kind}")
                yield shape | {"program": kind} | _measured(sized, length, kind, options)


NOTHING = dict.fromkeys(
    (
        "batch", "flops_per_token", "bytes_per_token", "temporary_bytes", "seconds", "low", "high",
        "calls", "tokens_per_second", "seconds_per_token", "joules_per_token", "reason",
    )
)  # fmt: skip
"""Columns of the measured numbers, beside those of the shape."""


def _measured(model: ModelConfig, length: int, kind: str, options: CostOptions) -> dict[str, Any]:
    """Measured numbers of one program, or the reason why there are none."""
    batch = options.batch_of(kind, length)
    row = NOTHING | {"batch": batch}
    try:
        _measure_into(row, model, length, kind, options)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        row["reason"] = f"there is no memory for a batch of {batch:,}"
    return row


def _measure_into(
    row: dict[str, Any], model: ModelConfig, length: int, kind: str, options: CostOptions
) -> None:
    """Write the numbers of one program into its row, so that those before a failure stay."""
    try:
        program = PROGRAMS[kind](model, length, row["batch"])
        counted = program.count()
    except UserError as error:
        row["reason"] = str(error)
        return
    if not counted.unbounded:  # nobody knows how often its loops turn
        row["flops_per_token"] = counted.flops / program.tokens
        row["bytes_per_token"] = counted.bytes / program.tokens
    compiled = program.compile()
    memory = compiled.memory_analysis()
    row["temporary_bytes"] = int(memory.temp_size_in_bytes) if memory else None
    needed = _needed(memory) if memory else None
    there = SHARE * free_memory(jax.devices()[0]) if options.memory is None else options.memory
    if needed is not None and needed > there:
        row["reason"] = f"needs {needed / 1e9:.1f} GB, there are {there / 1e9:.1f} GB"
    else:
        row |= _timed(compiled, program, options)


def _needed(memory: Any) -> int:
    """Bytes that a program needs with what it is given and what it gives back.

    Decoding has the state of its documents among both, beside which what it computes is little.
    """
    given = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return int(memory.temp_size_in_bytes + given - memory.alias_size_in_bytes)


def _timed(compiled: jax.stages.Compiled, program: Program, options: CostOptions) -> dict[str, Any]:
    """Times of calls, and their energy per token if the device reports it."""
    arguments = jax.jit(program.make)()
    read = energy.counter()
    before = read() if read else 0.0
    times = timing.repeated(lambda: compiled(*arguments), options.repeats, options.seconds)
    # The first call, which is not timed, uses as much energy as the others.
    joules = (read() - before) / (len(times) + 1) / program.tokens if read else None
    middle = statistics.median(times)
    return {
        "seconds": middle,
        "low": min(times),
        "high": max(times),
        "calls": len(times),
        "tokens_per_second": program.tokens / middle,
        "seconds_per_token": middle / program.tokens,
        "joules_per_token": joules if joules is None or joules >= 0 else None,  # it wraps around
    }
