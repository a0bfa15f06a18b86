"""A mixer of every kind, with an input, and what equations in NumPy need of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.interventions.patch import positions_mask
from mecheval_jax.mixers import MixerContext, build_mixer
from mecheval_jax.sites import is_site

BATCH, LENGTH, WIDTH, LIMIT = 2, 9, 16, 12
CASES = {
    "attention": ("attention", {}),
    "attention_2_heads": ("attention", {"heads": 2, "bias": True}),
    "attention_shared_rotary": ("attention", {"heads": 4, "key_heads": 2, "encoding": "rotary"}),
    "attention_alibi": ("attention", {"heads": 4, "encoding": "alibi"}),
    "window": ("sliding_window_attention", {"window": 3}),
    "base_conv_3": ("base_conv", {"kernel": 3}),
    "base_conv_implicit": ("base_conv", {"kernel": "implicit"}),
    "base_conv_explicit": ("base_conv", {"kernel": "explicit"}),
    "based": ("based", {"heads": 2, "feature_width": 4}),
    "based_linear": ("based", {"feature_width": 4, "backend": "chunked", "encoding": "rotary"}),
    "hyena": ("hyena", {"order": 8}),
    "hyena_skip": ("hyena", {"order": 8, "skip": True, "kernel": 0}),
    "h3": ("h3", {}),
    "h3_small_state": ("h3", {"d_state": 4, "head_dim": 4}),
    "s4d": ("s4d", {"d_state": 8}),
    "s4d_zoh": ("s4d", {"d_state": 8, "discretization": "zoh"}),
    "mamba": ("mamba", {"d_state": 4}),
    "mamba_no_conv": ("mamba", {"d_state": 4, "d_conv": 0}),
    "mamba_no_gate": ("mamba", {"d_state": 4, "gated": False}),
    "mamba2": ("mamba2", {"d_state": 4, "head_dim": 8, "groups": 2}),
    "mamba2_no_gate": ("mamba2", {"d_state": 4, "head_dim": 8, "gated": False}),
    "mamba2_no_conv": ("mamba2", {"d_state": 4, "head_dim": 16, "d_conv": 0}),
    "delta_net": ("delta_net", {"heads": 2}),
    "delta_net_no_conv": ("delta_net", {"kernel": 0, "backend": "sequential"}),
    "gated_delta_net": ("gated_delta_net", {}),
    "gated_delta_net_no_conv": ("gated_delta_net", {"heads": 2, "kernel": 0}),
    "gated_delta_net_negative": ("gated_delta_net", {"negative_eigenvalues": True}),
    "kda": ("kda", {"heads": 2}),
    "kda_no_conv": ("kda", {"kernel": 0, "bounded": True}),
    "gated_delta_net_2": ("gated_delta_net_2", {"heads": 2}),
    "gated_delta_product": ("gated_delta_product", {"heads": 2}),
    "delta_product_no_conv": (
        "gated_delta_product",
        {"steps": 3, "forget_gate": False, "kernel": 0},
    ),
    "delta_product_1_step": ("gated_delta_product", {"steps": 1, "heads": 2}),
    "comba": ("comba", {"heads": 2}),
    "gla": ("gla", {"heads": 2}),
    "gla_canon": ("gla", {"heads": 2, "canon": 3}),
    "delta_product_canon": ("gated_delta_product", {"heads": 2, "kernel": 0, "canon": 2}),
    "retnet": ("retnet", {"heads": 2}),
    "rwkv4": ("rwkv4", {}),
    "rwkv7": ("rwkv7", {"heads": 2, "v_rank": 3}),
    "rwkv4_associative": ("rwkv4", {"backend": "associative"}),
    "lstm": ("lstm", {}),
    "attention_canon": ("attention", {"heads": 2, "canon": 3, "encoding": "alibi"}),
    "forgetting_attention": ("forgetting_attention", {"heads": 4, "key_heads": 2, "gated": True}),
    "forgetting_attention_pro": ("forgetting_attention_pro", {"heads": 2}),
    "gated_attention": ("gated_attention", {"heads": 2, "key_heads": 1, "canon": 2}),
    "path_attention": ("path_attention", {"heads": 4, "key_heads": 2, "rank": 4}),
    "mamba3": ("mamba3", {"d_state": 8, "head_dim": 8}),
    "mamba3_mimo": (
        "mamba3",
        {"d_state": 4, "head_dim": 16, "ranks": 2, "turned": 1.0, "out_norm": True},
    ),
    "mamba3_no_gate": (
        "mamba3",
        {"d_state": 4, "head_dim": 16, "gated": False, "backend": "sequential"},
    ),
    "hgrn2": ("hgrn2", {"heads": 2}),
    "gated_slot_attention": ("gated_slot_attention", {"heads": 2, "slots": 4}),
    "mesa_net": ("mesa_net", {"heads": 2}),
    "mesa_net_no_conv": ("mesa_net", {"heads": 2, "kernel": 0, "backend": "associative"}),
    "mlstm": ("mlstm", {"heads": 2}),
    "mlstm_no_conv": ("mlstm", {"heads": 4, "kernel": 0, "backend": "sequential"}),
    "log_linear_mamba2": ("log_linear_mamba2", {"d_state": 4, "head_dim": 16}),
    "log_linear_mamba2_no_conv": (
        "log_linear_mamba2",
        {"d_state": 4, "head_dim": 16, "d_conv": 0, "levels": 5},
    ),
    "path_attention_no_conv": (
        "path_attention",
        {"heads": 2, "kernel": 0, "forget_gate": True, "canon": 2},
    ),
}
VARIANTS = (
    "attention_2_heads",
    "window",
    "base_conv_explicit",
    "hyena_skip",
    "h3_small_state",
    "s4d_zoh",
    "mamba_no_conv",
    "mamba2_no_conv",
    "delta_net_no_conv",
    "gated_delta_net_no_conv",
    "gated_delta_net_negative",
    "kda_no_conv",
    "delta_product_no_conv",
    "delta_product_1_step",
    "gla_canon",
    "delta_product_canon",
    "rwkv4_associative",
    "forgetting_attention",
    "path_attention_no_conv",
    "mamba3_no_gate",
    "mesa_net_no_conv",
    "mlstm_no_conv",
    "log_linear_mamba2_no_conv",
    "mamba_no_gate",
    "mamba2_no_gate",
)
"""Cases that are others with an option changed: their code is compiled only."""
MAIN = [case for case in CASES if case not in VARIANTS]
OPERATION_BY_OPERATION = ("attention", "based_linear", "hyena", "s4d", "mamba", "gla", "kda")
OPERATION_BY_OPERATION += ("mamba3", "mesa_net", "gated_slot_attention", "path_attention")
"""One of each kind of parallel form: scores, sums, filters, kernels, a scan, chunks, and so on."""
FIXED_STATES = (
    "mamba",
    "mamba2",
    "mamba3",
    "mamba3_mimo",
    "log_linear_mamba2",
    "mlstm",
    "mesa_net",
)
FIXED_STATES += ("delta_net", "gated_delta_net", "kda", "gated_delta_net_2", "gated_delta_product")
FIXED_STATES += ("comba", "rwkv7", "gla", "retnet", "hgrn2", "gated_slot_attention")
"""Cases whose state is of one size, computed in chunks or by a scan."""
REACH = {"base_conv_3": 3, "window": 3}
"""Tokens that an output reads, itself included, where that is not all of them."""


def mixer_of(case, limit=LIMIT):
    name, options = CASES[case]
    options = dict(options)
    encoding, canon = options.pop("encoding", "none"), options.pop("canon", 0)
    return build_mixer(name, MixerContext(1, 2, WIDTH, limit, encoding, canon), options)


@functools.cache
def example(case):
    """A mixer with parameters of size 1 (a fresh one does almost nothing) and an input."""
    mixer = mixer_of(case)
    keys = iter(jax.random.split(jax.random.key(0), 100))
    x = jax.random.normal(next(keys), (BATCH, LENGTH, WIDTH))
    params = jax.jit(mixer.init)(next(keys), x)["params"]
    noisy = lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape)
    return mixer, {"params": jax.tree.map(noisy, params)}, x


@functools.cache
def compiled(case):
    """The parallel form as a function of variables and inputs: one program for all inputs."""
    return jax.jit(example(case)[0].apply)


@functools.cache
def parallel(case):
    """The outputs of the parallel form, compiled."""
    _, variables, x = example(case)
    return np.asarray(compiled(case)(variables, x))


AT = 4
"""Where activations are replaced."""


@functools.cache
def _look(case):
    seen = {"capture_intermediates": is_site, "mutable": ["intermediates"]}
    return jax.jit(functools.partial(example(case)[0].apply, **seen))


def capture(case, x):
    """Activations at all sites of the mixer."""
    _, captured = _look(case)(example(case)[1], x)
    return {name: value["__call__"][0] for name, value in captured["intermediates"].items()}


@functools.cache
def other(case):
    """Another input, and the activations that it gives."""
    x = jax.random.normal(jax.random.key(7), (BATCH, LENGTH, WIDTH))
    return x, capture(case, x)


def at(position, activation):
    return positions_mask(jnp.full(BATCH, position), activation.shape)


def in_float64(case):
    """The mixer of a case, its parameters and its input, for NumPy."""
    mixer, variables, x = example(case)
    to_numpy = lambda leaf: np.asarray(leaf, np.float64)
    return mixer, jax.tree.map(to_numpy, variables["params"]), to_numpy(x)


def assert_gives(case, expected):
    """The parallel form of a case has these outputs."""
    np.testing.assert_allclose(parallel(case), expected, atol=2e-5 * np.abs(expected).max())


def dense(x, parameters):
    """W x + b."""
    return x @ parameters["kernel"] + parameters.get("bias", 0)


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def silu(x):
    """x sigmoid(x)."""
    return x * sigmoid(x)


def softplus(x):
    """log(1 + exp(x))."""
    return np.log1p(np.exp(x))


def rms_norm(x):
    """x / sqrt(mean of x^2 + 1e-5) along the last axis."""
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)


def discretized(kernel, discretization):
    """Abar and Cbar of the equations of `ops.ssm_kernels`."""
    A = -np.exp(kernel["inv_A_real"]) + 1j * kernel["A_imag"]
    dt = np.exp(kernel["log_dt"])[:, None]
    C, B = (kernel[name] @ [1, 1j] for name in "CB")
    if discretization == "zoh":
        return np.exp(dt * A), C * B * (np.exp(dt * A) - 1) / A
    return (1 + dt * A / 2) / (1 - dt * A / 2), C * B * dt / (1 - dt * A / 2)
