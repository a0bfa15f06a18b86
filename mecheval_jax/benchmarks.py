"""Timings of this machine; see ``launch/benchmark.py``.

Share of the matrix rate of a training step = (6 x matrix weights outside the embedding x
tokens they see + 6 x width x vocabulary x queries) / time / rate: forward and backward
products only. Weights of the last layer that act at the query alone see only those.
"""

import dataclasses
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict

from mecheval_jax.errors import choose
from mecheval_jax.evaluation import interchange
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.long_convolution import long_convolution
from mecheval_jax.ops.selective_scan import selective_scan
from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.reporting.progress import say
from mecheval_jax.sites import Site
from mecheval_jax.tasks.associative_recall import AssociativeRecall
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.losses import query_scores, weighted_mean
from mecheval_jax.training.state import create_state
from mecheval_jax.training.step import compile_steps, loss_and_accuracy

AT_QUERY = ("q_proj", "out_proj", "proj_q", "proj_o", "projection", "mlp")
"""Modules of the last layer that are computed at the queries alone."""


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Median time of a call whose result is waited for; the first call is not counted."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def matrix_rate(size: int = 1024) -> float:
    """float32 FLOP/s of a square product on this machine."""
    a = jnp.ones((size, size))
    multiply = jax.jit(lambda a: a @ a)
    return 2 * size**3 / seconds(lambda: multiply(a), repeats=20)


def measure(only: Sequence[str] | None, steps: int) -> None:
    """Run the parts that are named, all if None, and print what they find."""
    parts = {
        "step": lambda: training_steps(steps),
        "grid": grids,
        "length": costs_in_length,
        "convolution": convolutions,
        "recurrence": recurrences,
        "sites": unused_sites,
        "sampling": sampling,
        "imports": imports,
    }
    chosen = [choose("benchmark", name, parts) for name in (only or parts)]
    device = jax.devices()[0]
    print(f"{jax.device_count()} x {device.device_kind}, jax {jax.__version__}")
    print(f"float32 1024^3 matrix product: {matrix_rate() / 1e9:.0f} GFLOP/s")
    for name in chosen:
        say(f"measuring {name}")
        parts[name]()


def training_steps(steps: int) -> None:
    """Step time, share of the matrix rate, and the savings, of the study's AR."""
    print(
        f"\n{'training step, batch 32':26}{'step, ms':>10}{'share':>7}   "
        f"{'gradient, ms':>12}{'all logits':>12}{'whole last layer':>18}"
    )
    for mixer, width in (("attention", 64), ("based", 64), ("mamba", 64), ("attention", 256)):
        task = AssociativeRecall()
        model = ModelConfig(
            mixer,
            2,
            width,
            task.vocabulary_size,
            1024,
            positions="learned" if mixer == "attention" else "none",
        )
        training = TrainingConfig(steps, training_batches=3126, steps_per_dispatch=steps)
        rate = matrix_rate()
        step = _whole_step(model, task, training, steps)
        lean, every, whole = (
            _gradient(model, task, training, w) for w in (None, "logits", "layer")
        )
        share = _flops(model, task, training.batch_size) / step / rate
        print(
            f"{mixer + ' width ' + str(width):26}{step * 1e3:10.1f}{share:7.0%}   "
            f"{lean * 1e3:12.1f}{every * 1e3:12.1f}{whole * 1e3:18.1f}"
        )
    print("share: of the matrix rate, counting what is computed. Gradient: without sampling and")
    print("update; beside it the same with logits at every position (and the last layer whole),")
    print("and with the last layer whole but logits at the queries")


def _whole_step(model, task, training, steps: int) -> float:
    mesh = make_mesh(jax.devices()[:1])
    state = create_state(model, training, mesh)
    with jax.set_mesh(mesh):
        program = compile_steps(state, model, task, training, mesh)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            state, metrics = program(state, steps)
            jax.block_until_ready(metrics)
            times.append((time.perf_counter() - start) / steps)
    return statistics.median(times[1:])


def _gradient(model, task, training, whole: str | None) -> float:
    """Time of loss and gradient, with nothing, the last layer or all logits computed whole."""
    params = initialize(model, jax.random.key(0))
    batch = task.sample(jax.random.key(0), training.batch_size, "train")

    def loss(params):
        if whole is None:
            return loss_and_accuracy(model, params, task, batch)[0]
        tokens = batch.tokens[:, : task.read_length]
        positions = batch.query_positions if whole == "layer" else None
        logits = LanguageModel(model).apply({"params": params}, tokens, positions)
        if positions is None:
            # A loss over all positions, those that are no query with weight 0.
            inside = batch.query_positions[..., None] == jnp.arange(tokens.shape[1])
            everywhere = dataclasses.replace(
                batch,
                targets=jnp.broadcast_to(batch.targets, tokens.shape),
                weights=inside.any(axis=1).astype(logits.dtype),
            )
            losses, _ = query_scores(logits, everywhere)
            return weighted_mean(losses, everywhere.weights)
        return weighted_mean(query_scores(logits, batch)[0], batch.weights)

    program = jax.jit(jax.grad(loss))
    return seconds(lambda: program(params), repeats=20)


def _flops(model: ModelConfig, task: AssociativeRecall, batch: int) -> float:
    shapes = jax.eval_shape(lambda: initialize(model, jax.random.key(0)))
    last = f"block_{model.layers - 1}/"
    total = 6 * model.width * model.vocabulary_size * batch * task.queries
    for path, leaf in flatten_dict(shapes, sep="/").items():
        if not path.endswith("kernel"):
            continue
        at_query = path.startswith(last) and any(f"/{name}/" in path for name in AT_QUERY)
        tokens = batch * (task.queries if at_query else task.read_length)
        total += 6 * leaf.size * tokens
    return total


def grids() -> None:
    """Time of the interchange grid after compilation."""
    task = AssociativeRecall()
    batch = task.sample(jax.random.key(0), 320, "test")
    print(
        f"\n{'interchange grid, 320 documents':34}{'patched runs':>14}{'s':>8}{'plain run, s':>14}"
    )
    for mixer in ("attention", "based", "hyena", "mamba"):
        model = ModelConfig(mixer, 2, 64, task.vocabulary_size, 1024)
        params = initialize(model, jax.random.key(0))
        module = LanguageModel(model)
        plain = jax.jit(lambda p, b, m=module: m.apply({"params": p}, b.tokens, b.query_positions))
        one = seconds(lambda p=params, run=plain: run(p, batch))
        for directions in (("restore",), ("restore", "damage")):
            evaluation = EvaluationConfig(directions=directions)
            sites = interchange.default_sites(model)
            positions = interchange.role_positions(task, batch, evaluation.roles)
            program = interchange.compile_grid(model, task, evaluation, sites)
            spent = seconds(lambda p=params, x=positions, run=program: run(p, batch, x), repeats=3)
            runs = len(sites) * len(evaluation.roles) * len(evaluation.corruptions)
            runs *= len(directions)
            name = f"{mixer} {'+'.join(directions)}"
            print(f"{name:34}{runs:14}{spent:8.2f}{one:14.3f}")


FIXED_STATE = {
    "mamba": {},
    "mamba2": {},
    "hyena": {},
    "h3": {"d_state": 64},
    "s4d": {},
    "delta_net": {},
    "gated_delta_net": {},
    "gla": {},
    "retnet": {},
}
"""Mixers whose cost should grow as the length, with states of a fixed size."""


def _length_step(mixer: str, options: dict, length: int):
    """A compiled gradient of a model of two layers, width 64, on 4 documents."""
    config = ModelConfig(mixer, 2, 64, 64, 4096, mixer_options=options)
    params = initialize(config, jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (4, length), 0, 64)

    def loss(params):
        logits = LanguageModel(config).apply({"params": params}, tokens)
        return jax.nn.logsumexp(logits, axis=-1).mean()

    program = jax.jit(jax.grad(loss)).lower(params).compile()
    return program, lambda: program(params)


def costs_in_length() -> None:
    """Time and temporary memory of loss and gradient from 512 to 4,096 tokens.

    The rest of a training step, the optimizer, costs the same at every length.
    """
    print(f"\n{'batch 4, width 64':20}{'512, ms':>10}{'4096, ms':>10}{'power':>7}", end="")
    print(f"{'512, MB':>10}{'4096, MB':>10}{'power':>7}")
    for mixer, options in FIXED_STATE.items():
        times, sizes = [], []
        for length in (512, 4096):
            program, call = _length_step(mixer, options, length)
            times.append(seconds(call, repeats=3) * 1e3)
            sizes.append(program.memory_analysis().temp_size_in_bytes / 1e6)
        row = f"{mixer:20}"
        for short, long in (times, sizes):
            row += f"{short:10.1f}{long:10.1f}{math.log(long / short, 8):7.2f}"
        print(row)
    print("power: of the length with which the cost grows")


def unused_sites() -> None:
    """Time of a gradient with sites that nobody uses, and of one whose model has none."""
    print(f"\n{'unused sites, length 128':26}{'with, ms':>10}{'without, ms':>13}{'ratio':>8}")
    call = Site.__call__
    for mixer in ("attention", "mamba", "delta_net", "hyena"):
        spent = {}
        for name, site in (("with", call), ("without", lambda self, live: live)):
            Site.__call__ = site
            _, program = _length_step(mixer, {}, 128)
            spent[name] = seconds(program, repeats=20) * 1e3
        Site.__call__ = call
        row = f"{mixer:26}{spent['with']:10.1f}{spent['without']:13.1f}"
        print(f"{row}{spent['with'] / spent['without']:8.2f}")


def convolutions() -> None:
    """FFT against the Toeplitz product, loss and gradient, batch 32, width 64."""
    print(f"\n{'long convolution':20}{'Toeplitz, ms':>14}{'FFT, ms':>10}{'FFT / Toeplitz':>16}")
    for length in (32, 64, 128, 256, 512, 1024):
        x, taps = jnp.ones((32, length, 64)), jnp.ones((length, 64)) / length
        spent = {}
        for backend in ("toeplitz", "fft"):
            gradient = jax.jit(
                jax.grad(
                    lambda x, taps, b=backend: (long_convolution(x, taps, b) ** 2).sum(),
                    argnums=(0, 1),
                )
            )
            spent[backend] = seconds(lambda g=gradient, x=x, taps=taps: g(x, taps), repeats=10)
        toeplitz, fft = spent["toeplitz"] * 1e3, spent["fft"] * 1e3
        print(f"{f'length {length}':20}{toeplitz:14.2f}{fft:10.2f}{fft / toeplitz:16.2f}")


def recurrences() -> None:
    """Backends of the recurrences, value and gradient, batch 4."""
    backends = ("sequential", "associative", "chunked")
    print(f"\n{'recurrence, ms':34}" + "".join(f"{backend:>14}" for backend in backends))
    for length in (37, 256, 1024, 4096):
        channels, directions = jnp.ones((4, length, 64)), jnp.ones((4, length, 16))
        writes = jnp.ones((4, length, 64, 16))
        cases = {
            "decay per entry": (linear_recurrence, (writes / 2, writes)),
            "decay per channel": (linear_recurrence, (channels[..., None] / 2, writes)),
            "selective scan": (
                selective_scan,
                (channels, channels, -jnp.ones((64, 16)), directions, directions),
            ),
        }
        for name, (op, arguments) in cases.items():
            row = f"{f'{name}, length {length}':34}"
            for backend in backends:
                program = jax.jit(
                    jax.value_and_grad(
                        lambda *a, op=op, b=backend: (op(*a, backend=b) ** 2).sum(),
                        argnums=range(len(arguments)),
                    )
                )
                row += f"{seconds(lambda p=program, a=arguments: p(*a)) * 1e3:14.2f}"
            print(row)


def sampling() -> None:
    """Documents per second, against a plain sampler that draws one at a time."""
    task, count = AssociativeRecall(), 8192
    sample = jax.jit(lambda key: task.sample(key, count, "train"))
    spent = seconds(lambda: sample(jax.random.key(0)))
    one = jax.jit(lambda key: task.sample(key, 1, "train"))
    single = seconds(lambda: one(jax.random.key(0)), repeats=50)
    print(f"\nAR, 16 pairs of 4,096: {count / spent:,.0f} documents/s in batches of {count},")
    print(f"{1 / single:,.0f} documents/s one at a time")


def imports() -> None:
    """Import time of the package beyond jax and flax."""

    def best(statement: str) -> float:
        code = f"import time; s = time.perf_counter(); {statement}; print(time.perf_counter() - s)"
        runs = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            for _ in range(3)
        ]
        return min(float(run.stdout) for run in runs)

    base = best("import jax, flax.linen")
    whole = best("import jax, flax.linen; import mecheval_jax.runs")
    print(f"\nimport: jax and flax {base:.2f} s, mecheval_jax.runs {whole - base:.2f} s more")
