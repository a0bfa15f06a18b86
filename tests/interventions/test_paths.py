"""Path patching against a two-layer Transformer that is unrolled by hand."""

import functools

import chex
import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import compose, freeze, interchange, path_patch, run
from tests.support import references
from tests.support.two_runs import subject_of

M0, F0, M1, F1 = (
    f"block_{layer}/{part}" for layer in (0, 1) for part in ("mixer_output", "mlp_output")
)
PATHS = {
    "the stream from a mixer": ([M0], "block_1/mixer_input", [F0]),
    "the stream from a mixer to its MLP": ([M0], "block_0/mlp_input", []),
    "from inside a mixer to inside another": (["block_0/mixer/v"], "block_1/mixer/k", [F0]),
    "from a mixer's input": (["block_0/mixer_input"], "block_1/block_output", [F0, M1, F1]),
    "from an MLP's input": (["block_0/mlp_input"], "block_1/mixer_output", []),
    "from the tokens to the logits": (["embedding"], "final_norm", [M0, F0, M1, F1]),
    "from a block to an MLP": (["block_0/block_output"], "block_1/mlp_output", [M1]),
    "from two sites": (["block_0/mixer/k", F0], M1, []),
    "from two layers": (["block_0/mixer/k", M1], "final_norm", [F0, F1]),
}
"""Senders, receiver, and what has to be held between them."""


@functools.cache
def base():
    return {path: np.asarray(x) for path, x in subject_of("attention").activations.items()}


def shaped(path, value):
    """As the model has it: with an axis of its one head."""
    return value[:, :, None] if "/mixer/" in path else value


def sent(path):
    """The other run's activation at the key, the base run's elsewhere."""
    subject = subject_of("attention")
    ours, theirs = np.array(base()[path]), np.asarray(subject.other[path])
    rows, key = np.arange(len(ours)), np.asarray(subject.key)
    ours[rows, key] = theirs[rows, key]
    return ours.reshape(*ours.shape[:2], -1)


def unrolled(put):
    subject = subject_of("attention")
    return references.transformer(subject.params, base()["embedding"], put)


def at_the_end(path):
    """What reaches the receiver by the path, by hand."""
    senders, receiver, held = PATHS[path]
    put = {site: base()[site] for site in held} | {site: sent(site) for site in senders}
    return unrolled(put)[receiver]


@functools.cache
def programs():
    """Path patches of all cases, as one program."""
    subject = subject_of("attention")

    @jax.jit
    def program(params, other):
        return {
            path: path_patch(
                subject.model,
                params,
                subject.tokens,
                interchange(other, senders, subject.key),
                receiver,
            )
            for path, (senders, receiver, _) in PATHS.items()
        }

    return program(subject.params, subject.other)


@pytest.mark.parametrize("path", PATHS)
def test_what_reaches_the_receiver(path):
    """Catches a path that leaks through another mixer or MLP, or whose own part is held."""
    _, receiver, held = PATHS[path]
    ((site, entry),) = programs()[path].items()
    assert site == receiver
    assert set(entry) == {"value"}
    expected = at_the_end(path)
    scale = np.abs(expected).max()
    got = np.asarray(entry["value"]).reshape(expected.shape)
    np.testing.assert_allclose(got, expected, atol=2e-5 * scale)
    own = base()[receiver].reshape(expected.shape)
    assert np.abs(expected - own).max() > 1e-2 * scale
    if held:  # all else live, the change is another
        senders = {site: sent(site) for site in PATHS[path][0]}
        assert np.abs(unrolled(senders)[receiver] - expected).max() > 1e-3 * scale


class Patched(chex.TestCase):
    """Catches a receiver whose effect is held with the rest, and positions that are passed over."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_the_effect_of_two_hops(self):
        subject = subject_of("attention")

        def patched(params, other):
            patch = functools.partial(path_patch, subject.model, params, subject.tokens)
            first = patch(interchange(other, [M0], subject.key), "block_1/mixer/k", subject.key)
            second = patch(first, "blocks.1.hook_attn_out")
            return run(subject.model, params, subject.tokens, second)

        logits = self.variant(patched)(subject.params, subject.other)
        k = unrolled({M0: sent(M0), F0: base()[F0]})["block_1/mixer/k"]
        rows, here = np.arange(len(k)), np.asarray(subject.key)
        moved = base()["block_1/mixer/k"].reshape(k.shape).copy()
        moved[rows, here] = k[rows, here]
        mixed = unrolled({"block_1/mixer/k": moved})[M1]
        expected = unrolled({M1: mixed})["logits"]
        np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
        assert np.abs(expected - unrolled({})["logits"]).max() > 1e-2


def test_freezing_alone_changes_nothing():
    """Catches a writer that is held at another run's value."""
    subject = subject_of("attention")
    held = freeze(subject.activations, subject.config, ["embedding"], "final_norm")
    assert set(held) == {M0, F0, M1, F1}
    np.testing.assert_array_equal(subject.patched(held), subject.logits)


@pytest.mark.parametrize(
    ("senders", "receiver", "message"),
    [
        ([M1], M0, f"no path from {M1} to {M0}"),
        ([M0], M0, f"no path from {M0} to {M0}"),
        ([M0, F1], "block_1/mixer_input", f"no path from {F1} to block_1/mixer_input"),
        ([], M1, "no senders"),
        (["embedding", "block_0/mixer/k"], "final_norm", f"embedding reaches .* through {M0} too"),
        (["block_1/mixer/k", M0], "final_norm", f"{M0} reaches final_norm through {M1} too"),
        (["block_0/mixer/state"], M1, "unknown site 'block_0/mixer/state'"),
        ([M0], "block_1/mixer/kk", "did you mean 'block_1/mixer/k'"),
    ],
)
def test_paths_that_do_not_exist(senders, receiver, message):
    """Catches a path against the order of computation, which would have no effect."""
    subject = subject_of("attention")
    with pytest.raises(UserError, match=message):
        freeze(subject.activations, subject.config, senders, receiver)


def test_what_is_handed_on_past_the_stream_is_held():
    """Catches a change that reaches a layer of RWKV-7 by the values of the first."""
    subject = subject_of("rwkv7")
    past = "block_1/mixer/v_first"
    assert past in freeze(subject.activations, subject.config, ["embedding"], "final_norm")
    assert past not in freeze(subject.activations, subject.config, [past], "block_1/mixer_output")
    patch = functools.partial(path_patch, subject.model, subject.params, subject.tokens)
    changed = interchange(subject.other, ["block_0/mixer/v"], subject.key)
    whole = patch(changed, "block_1/mixer/v")
    by_the_stream = patch(patch(changed, M0), "block_1/mixer/v")
    got, expected = (x["block_1/mixer/v"]["value"] for x in (whole, by_the_stream))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_patch_on_what_is_held_wins():
    """Catches a change that is lost under the freeze of a second sender's path."""
    subject = subject_of("attention")
    both = compose(
        interchange(subject.other, ["block_0/mixer/q"]), interchange(subject.other, [F0])
    )
    held = freeze(subject.activations, subject.config, both, "final_norm")
    assert set(held) == {F0, M1, F1}
    value = compose(held, both)[F0]["value"]
    np.testing.assert_array_equal(value, subject.other[F0])
