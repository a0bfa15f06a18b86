"""AdamW and its schedule, against plain loops and the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.training.optimizer import (
    Hyperparameters,
    Special,
    new_opt_state,
    schedule,
    update,
)

SHAPES = {"kernel": (3, 4), "bias": (5,)}


def hyperparameters(learning_rate, weight_decay=0.0, steps=10, beta1=0.9, beta2=0.999):
    return Hyperparameters(
        learning_rate=jnp.float32(learning_rate),
        weight_decay=jnp.float32(weight_decay),
        beta1=jnp.float32(beta1),
        beta2=jnp.float32(beta2),
        steps=jnp.int32(steps),
        seed=jnp.uint32(0),
        data_seed=jnp.uint32(0),
    )


def plain_adamw(params, gradients, factors, rate, decay, beta1, beta2):
    """AdamW (Loshchilov and Hutter 2019) in float64, one array, one step after the other."""
    p = params.astype(np.float64)
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, (g, factor) in enumerate(zip(gradients.astype(np.float64), factors, strict=True), 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        corrected_m, corrected_v = m / (1 - beta1**t), v / (1 - beta2**t)
        p = p - rate * factor * (corrected_m / (np.sqrt(corrected_v) + 1e-8) + decay * p)
    return p


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95)])
def test_ten_steps_of_adamw(betas):
    """Catches decay inside the gradient, no bias correction, another epsilon or its place."""
    generator = np.random.default_rng(0)
    rate, decay, factors = 0.03, 0.1, np.linspace(0, 1, 10)
    start = {name: generator.normal(size=s).astype(np.float32) for name, s in SHAPES.items()}
    # Gradients from 1e-10 to 1: where they are small, epsilon decides.
    sizes = {name: 10 ** generator.uniform(-10, 0, size=s) for name, s in SHAPES.items()}
    gradients = {
        name: (generator.normal(size=(10, *s)) * sizes[name]).astype(np.float32)
        for name, s in SHAPES.items()
    }
    params = jax.tree.map(jnp.asarray, start)
    opt_state = new_opt_state(params)
    step = jax.jit(update)
    for t in range(10):
        gradient = {name: jnp.asarray(g[t]) for name, g in gradients.items()}
        params, opt_state = step(
            gradient,
            opt_state,
            params,
            hyperparameters(rate, decay, 10, *betas),
            jnp.float32(factors[t]),
        )
    for name in SHAPES:
        expected = plain_adamw(start[name], gradients[name], factors, rate, decay, *betas)
        np.testing.assert_allclose(params[name], expected, rtol=1e-5, atol=1e-6)


def test_exempt_parameters_do_not_decay():
    """Catches a path that is taken for a prefix, and an exemption from the gradient as well."""
    params = {"mixer": {"A": jnp.float32([2.0]), "A_log": jnp.float32([2.0])}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    values, factor = hyperparameters(0.5, 0.1), jnp.float32(1)
    exempt = {"mixer/A": Special(decays=False)}
    after, _ = update(zeros, new_opt_state(params), params, values, factor, exempt)
    np.testing.assert_allclose(after["mixer"]["A"], 2.0)
    np.testing.assert_allclose(after["mixer"]["A_log"], 2.0 * 0.95, rtol=1e-6)
    ones = jax.tree.map(jnp.ones_like, params)
    moved, _ = update(ones, new_opt_state(params), params, values, factor, exempt)
    np.testing.assert_allclose(moved["mixer"]["A"], 1.5, rtol=1e-5)


def test_multiples_of_the_rate():
    """Catches a multiple of the gradient, which Adam divides out, or without the weight decay."""
    params = {"w0": jnp.float32([2.0]), "w": jnp.float32([2.0])}
    ones, values = jax.tree.map(jnp.ones_like, params), hyperparameters(0.1, 0.5)
    doubled = {"w0": Special(rate=2.0)}
    after, _ = update(ones, new_opt_state(params), params, values, jnp.float32(1), doubled)
    np.testing.assert_allclose(after["w"], 2 - 0.1 * (1 + 0.5 * 2), rtol=1e-5)
    np.testing.assert_allclose(after["w0"], 2 - 0.2 * (1 + 0.5 * 2), rtol=1e-5)


def study_schedule(steps, warmup, decay):
    """SPEC section 4, in float64: the factor at every step."""
    t = np.arange(steps, dtype=np.float64)
    after = (t - warmup) / (steps - warmup)
    falling = {
        "cosine": (1 + np.cos(np.pi * after)) / 2,
        "linear": (steps - t) / (steps - warmup),
        "constant": np.ones(steps),
    }[decay]
    return np.where(t < warmup, t / max(warmup, 1), falling)


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("steps", [1, 9, 10, 19, 20, 30, 1009, 50_016, 100_032, 1_000_010])
def test_schedule_at_every_step(steps, decay):
    """Catches a warm-up of ceil or round(0.1 T), and counting steps from 1."""
    at = jax.jit(jax.vmap(lambda t: schedule(t, jnp.int32(steps), 0.1, decay)))
    factors = np.asarray(at(jnp.arange(steps)))
    warmup = steps // 10  # floor(0.1 T) in whole numbers
    np.testing.assert_allclose(factors, study_schedule(steps, warmup, decay), atol=3e-6)
    if warmup:
        assert factors[0] == 0
        assert factors.argmax() == warmup


@pytest.mark.parametrize(
    ("fraction", "steps", "warmup"),
    [(0.13, 500_000, 65_000), (0.53, 100_000, 53_000), (0.59, 200_000, 118_000), (1 / 3, 9, 3)],
)
def test_a_warmup_in_whole_numbers(fraction, steps, warmup):
    """Catches a product in float32, which lies just below the whole number that it is."""
    at = jax.jit(jax.vmap(lambda t: schedule(t, jnp.int32(steps), fraction, "linear")))
    around = np.asarray(at(jnp.arange(warmup - 1, warmup + 2)))
    assert around.argmax() == 1
    assert around[1] == 1


def test_schedule_without_warmup():
    """Catches a division by a warm-up of 0 steps."""
    at = jax.vmap(lambda t: schedule(t, jnp.int32(8), 0.0, "linear"))
    np.testing.assert_allclose(at(jnp.arange(8)), np.linspace(1, 0, 8, endpoint=False), atol=1e-6)


def test_rate_zero_changes_nothing():
    """Catches a step that decays or moves the parameters whatever the rate."""
    params = {"kernel": jnp.array([1.5, -2.0, 3e-5])}
    gradients = {"kernel": jnp.array([1.0, 1e-9, -1e3])}
    after, opt_state = update(
        gradients, new_opt_state(params), params, hyperparameters(1.0, 0.1), jnp.float32(0)
    )
    np.testing.assert_array_equal(after["kernel"], params["kernel"])
    assert np.all(np.asarray(opt_state.mu["kernel"]) != 0)


def test_hyperparameters_are_data():
    """Catches a learning rate or decay baked into the program, which would compile per value."""
    traces = []

    @jax.jit
    def step(gradients, opt_state, params, values):
        traces.append(1)
        factor = schedule(opt_state.count, values.steps, 0.1, "cosine")
        return update(gradients, opt_state, params, values, factor)[0]

    params = {"kernel": jnp.ones(3)}
    opt_state = new_opt_state(params)._replace(count=jnp.int32(5))
    variants = [(1e-3, 0.0, 10), (1e-1, 0.0, 10), (1e-3, 0.5, 10), (1e-3, 0.0, 1000)]
    variants += [(1e-3, 0.0, 10, 0.5), (1e-3, 0.0, 10, 0.9, 0.5)]
    results = [step(params, opt_state, params, hyperparameters(*v))["kernel"] for v in variants]
    assert len(traces) == 1
    assert len({np.asarray(result).tobytes() for result in results}) == len(variants)
