"""The algebra of interventions, exact to the bit, and the errors of those who write them.

Runs that are compared to the bit go through one compiled program, which reads an entry at
every site: what a test patches is laid over entries whose masks select nothing.
"""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import (
    capture,
    compose,
    interchange,
    pin,
    run,
    site_paths,
    validate,
    zero,
)
from mecheval_jax.interventions.capture import nested, observe
from mecheval_jax.interventions.checks import validate_positions
from mecheval_jax.interventions.positions import as_computed, positions_mask
from mecheval_jax.models.blocks import Block
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.sites import rewrite
from mecheval_jax.tasks.synthetic.associative_recall import FIRST_KEY
from tests.support import planted, references

MIXERS = ("attention", "based", "mamba")
DOCUMENTS, LENGTH, WIDTH = 4, 13, 16
EVERYWHERE = jnp.broadcast_to(jnp.arange(LENGTH), (DOCUMENTS, LENGTH))
NOWHERE = jnp.full(DOCUMENTS, -1)


class Subject:
    """A model, a clean and a corrupted run, and patched runs of the clean one."""

    def __init__(self, mixer):
        self.config, self.params, task = planted.lively(mixer)
        self.model = LanguageModel(self.config)
        self.sites = site_paths(self.config)
        self.batch = planted.documents(task, DOCUMENTS)
        self.tokens = self.batch.tokens
        self.key = self.batch.roles["key"][:, 0]
        rows = jnp.arange(DOCUMENTS)
        other_key = FIRST_KEY + (self.tokens[rows, self.key] - FIRST_KEY + 3) % task.key_vocabulary
        self.other_tokens = self.tokens.at[rows, self.key].set(other_key)
        self._program = jax.jit(
            lambda params, tokens, interventions: observe(self.model, params, tokens, interventions)
        )
        seen = jax.eval_shape(
            lambda params: observe(self.model, params, self.tokens)[1], self.params
        )
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), seen)
        self.nothing = interchange(blank, self.sites, NOWHERE)
        self.logits, self.activations = self.observe({})
        self.other_logits, self.other = self.observe({}, self.other_tokens)

    def observe(self, patch, tokens=None):
        """Logits and activations of the clean documents, patched."""
        tokens = self.tokens if tokens is None else tokens
        return self._program(self.params, tokens, compose(self.nothing, patch))

    def patched(self, *patches):
        """Logits of the clean documents under several patches."""
        return np.asarray(self.observe(compose({}, *patches))[0])

    def restore(self, site, positions=EVERYWHERE):
        """The patch that puts the other run's activation in."""
        return interchange(self.other, [site], positions)


@functools.cache
def subject_of(mixer):
    return Subject(mixer)


@pytest.fixture(params=MIXERS)
def subject(request):
    return subject_of(request.param)


@pytest.fixture
def attention():
    return subject_of("attention")


def same(a, b):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def differs(a, b, least=1e-3):
    """Documents whose logits differ by more than rounding."""
    return (np.abs(np.asarray(a) - np.asarray(b)) > least).any(axis=(1, 2))


def test_the_two_runs_differ_everywhere_that_matters(subject):
    """Catches subjects on which the equalities below would hold of any program."""
    assert differs(subject.logits, subject.other_logits).all()
    for layer in range(2):
        for part in subject.config.components(layer):
            site = f"block_{layer}/{part}"
            assert differs(subject.patched(subject.restore(site)), subject.logits).all(), site


def test_without_interventions_nothing_changes(subject):
    """Catches an entry that acts although its mask selects nothing."""
    plain = jax.jit(lambda params, tokens: run(subject.model, params, tokens))
    np.testing.assert_allclose(
        subject.logits, plain(subject.params, subject.tokens), rtol=1e-5, atol=1e-5
    )


def test_own_activations_change_nothing(subject):
    """Catches a value put in at another site, or after the place where it was read."""
    for site in subject.sites:
        same(subject.patched(interchange(subject.activations, [site], EVERYWHERE)), subject.logits)
    everything = interchange(subject.activations, subject.sites, EVERYWHERE)
    same(subject.patched(everything), subject.logits)
    at_key = interchange(subject.activations, subject.sites, subject.key)
    same(subject.patched(at_key), subject.logits)


def test_the_source_whole_gives_the_logits_of_the_source(subject):
    """Catches a patch that is dropped at some site, or mixed with the live activation."""
    everything = interchange(subject.other, subject.sites, EVERYWHERE)
    same(subject.patched(everything), subject.other_logits)
    for site in ("embedding", "block_0/block_input", "block_1/block_input", "final_norm"):
        same(subject.patched(subject.restore(site)), subject.other_logits)


def test_replacing_whole_needs_no_mask(subject):
    """Catches an entry with a value alone being ignored."""
    patch = interchange(subject.other, ["block_1/block_input"])
    assert set(patch["block_1/block_input"]) == {"value"}
    np.testing.assert_allclose(
        subject.observe(patch)[0], subject.other_logits, rtol=1e-5, atol=1e-5
    )


def test_one_different_token_is_one_different_embedding(subject):
    """Catches a patch that reaches another position than the one it names."""
    same(subject.patched(subject.restore("embedding", subject.key)), subject.other_logits)
    same(subject.patched(subject.restore("embedding", subject.key - 1)), subject.logits)


def test_disjoint_interventions_commute(subject):
    """Catches a combination in which one part is lost, or the order counts."""
    sites = subject.restore("block_0/mixer_output"), subject.restore("block_1/mixer_input")
    places = (
        subject.restore("block_1/block_input", subject.key),
        subject.restore("block_1/block_input", subject.key + 1),
    )
    for a, b in (sites, places):
        both = subject.patched(a, b)
        same(both, subject.patched(b, a))
        assert differs(both, subject.patched(a)).any()
        assert differs(both, subject.patched(b)).any()


def test_the_later_of_two_wins_where_both_claim(subject):
    """Catches the earlier one winning, an average, and the rest of the earlier one lost."""
    site, key = "block_1/block_input", subject.key
    zeros, source = zero(subject.other, [site], key), subject.restore(site, key)
    same(subject.patched(zeros, source), subject.patched(source))
    same(subject.patched(source, zeros), subject.patched(zeros))
    assert differs(subject.patched(source), subject.patched(zeros)).all()

    wide = zero(subject.other, [site], jnp.stack([key, key + 1], axis=1))
    _, seen = subject.observe(compose(wide, source))
    value = np.asarray(seen["block_1/block_input"])
    rows = np.arange(DOCUMENTS)
    same(value[rows, key], subject.other["block_1/block_input"][rows, key])
    same(value[rows, key + 1], np.zeros((DOCUMENTS, WIDTH)))
    same(value[:, 0], subject.activations["block_1/block_input"][:, 0])


def test_a_whole_replacement_later_wins_everywhere(subject):
    """Catches a mask of the earlier intervention kept for the later one's value."""
    site = "block_1/block_input"
    first, whole = zero(subject.other, [site], subject.key), interchange(subject.other, [site])
    entry = compose(first, whole)["block_1/block_input"]
    assert set(entry) == {"value"}
    same(entry["value"], subject.other["block_1/block_input"])
    # The other way round, the part lies over the whole.
    entry = compose(whole, first)["block_1/block_input"]
    assert set(entry) == {"value"}
    at_key = positions_mask(subject.key, LENGTH, 3)
    same(entry["value"], jnp.where(at_key, 0, subject.other["block_1/block_input"]))


def test_a_shift_is_added_to_the_live_activation(subject):
    """Catches a shift of the stored activation, which loses what flows in from before."""
    early, site = subject.restore("block_0/block_input"), "block_1/mixer_output"
    live = subject.observe(early)[1][site]
    shift = jnp.where(positions_mask(subject.key, LENGTH, 3), 0.5, jnp.zeros_like(live))
    patch = {site: {"shift": shift}}
    _, seen = subject.observe(compose(early, patch))
    same(seen[site], live + shift)
    nothing = {site: {"shift": jnp.zeros_like(live)}}
    same(subject.patched(nothing), subject.logits)
    validate(patch, subject.activations)
    with pytest.raises(UserError, match="nothing would change"):
        validate(nothing, subject.activations)


def entry_by_hand(live, entry):
    """What a site returns, in NumPy."""
    live = np.asarray(live)
    if "value" in entry:
        change = entry["value"] - live
        if "projection" in entry:
            change = change @ np.asarray(entry["projection"]).T
        live = np.where(entry.get("mask", True), live + change, live)
    live = live + entry.get("shift", 0)
    return entry_by_hand(live, entry["then"]) if "then" in entry else live


ENTRIES = {
    "value": ("value",),
    "part": ("value", "mask"),
    "shift": ("shift",),
    "value and shift": ("value", "shift"),
    "part and shift": ("value", "mask", "shift"),
    "subspace": ("value", "mask", "projection"),
    "subspace and shift": ("value", "projection", "shift"),
}


@pytest.mark.parametrize("second", ENTRIES)
@pytest.mark.parametrize("first", ENTRIES)
def test_one_entry_over_another(first, second):
    """Catches a part of the earlier entry that is lost, doubled, or wins; three in a row too."""
    draw = np.random.default_rng(0)

    def entry(kind):
        leaves = {
            "value": draw.normal(size=(2, 3, 4)),
            "mask": draw.random((2, 3, 1)) < 0.5,
            "projection": np.outer([0.6, 0.8, 0, 0], [0.6, 0.8, 0, 0]),
            "shift": draw.normal(size=(2, 3, 4)),
        }
        return {name: jnp.asarray(leaves[name]) for name in ENTRIES[kind]}

    live = draw.normal(size=(2, 3, 4)).astype(np.float32)
    chain = [entry(kind) for kind in (first, second, first)]
    expected = live
    for one in chain:
        expected = entry_by_hand(expected, one)
    combined = compose(*({"block_0/mixer/q": one} for one in chain))
    got = rewrite(jnp.asarray(live), combined["block_0/mixer/q"])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    if not any("projection" in one for one in chain):
        assert "then" not in combined["block_0/mixer/q"]


def test_interventions_of_different_shapes_do_not_combine(attention):
    """Catches values of two batches broadcast against each other."""
    site = "block_1/block_input"
    first = interchange(attention.other, [site], attention.key)
    one = jax.tree.map(lambda leaf: leaf[:1], first)
    with pytest.raises(UserError, match=r"\(4, 13, 16\) and \(1, 13, 16\)"):
        compose(first, one)


def test_a_later_site_overrides_what_flows_into_it(subject):
    """Catches patches that are applied to a stored run and not to the live activations."""
    early = subject.restore("block_0/block_input")
    own = interchange(subject.activations, ["block_1/block_input"], EVERYWHERE)
    same(subject.patched(early, own), subject.logits)
    # Where the later site does not act, the earlier one flows through.
    own_at_bos = interchange(subject.activations, ["block_1/block_input"], jnp.zeros_like(NOWHERE))
    same(subject.patched(early, own_at_bos), subject.other_logits)


def test_an_absent_position_leaves_its_document_alone(subject):
    """Catches -1 read as the last position, and documents that touch each other."""
    present = jnp.array([True, False, True, False])
    positions = jnp.where(present, subject.key, -1)
    logits = subject.patched(subject.restore("block_0/block_input", positions))
    same(logits[~present], subject.logits[~present])
    same(logits[present], subject.other_logits[present])
    minus_two = interchange(subject.other, ["final_norm"], jnp.full(DOCUMENTS, -2))
    same(subject.patched(minus_two), subject.logits)


def test_several_positions(subject):
    """Catches only the first or the last position of a document being patched."""
    columns = [subject.key, subject.key + 1, jnp.where(subject.key > 2, 0, -1)]
    together = subject.restore("block_1/mixer_input", jnp.stack(columns, axis=1))
    apart = [subject.restore("block_1/mixer_input", column) for column in columns]
    same(subject.patched(together), subject.patched(*apart))
    assert differs(subject.patched(together), subject.patched(apart[0])).any()


@pytest.mark.parametrize(
    ("positions", "chosen"), [([1, -1], [[1], []]), ([[0, 2], [-1, 2]], [[0, 2], [2]])]
)
def test_masks(positions, chosen):
    """Catches a mask along the wrong axis, or with an axis too few."""
    mask = np.asarray(positions_mask(jnp.array(positions), 4, 4))
    assert mask.shape == (2, 4, 1, 1)
    for row, expected in zip(mask, chosen, strict=True):
        assert np.flatnonzero(row).tolist() == expected


def test_zero(subject):
    """Catches a zero that is scaled, or put elsewhere."""
    site = "block_0/mixer_output"
    logits, seen = subject.observe(zero(subject.activations, [site], subject.key))
    before = np.asarray(subject.activations["block_0/mixer_output"])
    after = np.asarray(seen["block_0/mixer_output"])
    rows, key = np.arange(DOCUMENTS), np.asarray(subject.key)
    assert not after[rows, key].any()
    rest = np.ones((DOCUMENTS, LENGTH), bool)
    rest[rows, key] = False
    same(after[rest], before[rest])
    assert differs(logits, subject.logits).all()
    assert not subject.patched(zero(subject.activations, ["final_norm"], EVERYWHERE)).any()


def test_what_a_captured_patch_holds_is_what_the_site_returned(subject):
    """Catches a capture of the live value instead of the one that flows on."""
    patch = subject.restore("block_0/mixer_output", subject.key)
    logits, seen = subject.observe(patch)
    same(subject.patched(interchange(seen, ["block_1/block_input"], EVERYWHERE)), logits)


def test_capture_under_an_intervention(attention):
    """Catches interventions that `capture` takes and does not apply."""
    patch, site = attention.restore("block_0/mixer_output", attention.key), "block_1/block_input"
    captured = jax.jit(
        lambda params, patch: capture(attention.model, params, attention.tokens, [site], patch)
    )(attention.params, patch)
    expected = attention.observe(patch)[1]["block_1/block_input"]
    np.testing.assert_allclose(captured["block_1/block_input"], expected, rtol=1e-4, atol=1e-4)


def test_a_pinned_site_cuts_off_what_comes_before(subject):
    """Catches a pin that leaks: other tokens, or a gradient, still reach the logits."""
    pinned = pin(subject.activations, ["block_1/block_input"])

    def logits(embedding, pins, tokens):
        patch = compose({"embedding": {"value": embedding}}, pins)
        return run(subject.model, subject.params, tokens, patch)

    @jax.jit
    def both(embedding, pins, tokens):
        gradient = jax.grad(lambda e: (logits(e, pins, tokens) ** 2).sum())(embedding)
        return logits(embedding, pins, tokens), gradient

    under_pin, gradient = both(subject.other["embedding"], pinned, subject.other_tokens)
    np.testing.assert_allclose(under_pin, subject.logits, rtol=1e-4, atol=1e-4)
    assert not np.asarray(gradient).any()
    if subject.config.mixer == "attention":  # without the pin, both get through
        free, gradient = both(subject.other["embedding"], {}, subject.other_tokens)
        np.testing.assert_allclose(free, subject.other_logits, rtol=1e-4, atol=1e-4)
        assert np.asarray(gradient).any()


def test_what_feeds_only_pinned_sites_is_not_computed(attention):
    """Catches a pin by a mask, for which the compiler has to keep what it replaces."""

    program = jax.jit(lambda params, patch: run(attention.model, params, attention.tokens, patch))

    def flops(patch):
        return program.lower(attention.params, patch).compile().cost_analysis()["flops"]

    whole = flops(None)
    assert flops(pin(attention.activations, ["block_1/block_input"])) < 0.7 * whole
    masked = interchange(attention.activations, ["block_1/block_input"], EVERYWHERE)
    assert flops(masked) >= whole


def test_a_patched_run_is_the_rest_of_the_model_by_hand(attention):
    """Catches a patch at the wrong place: two independent ways to intervene must agree."""
    live, source = (
        np.asarray(run_["block_1/block_input"]) for run_ in (attention.activations, attention.other)
    )
    residual, value = live.copy(), attention.batch.roles["value"][:, 0]
    rows = np.arange(DOCUMENTS)
    residual[rows, value] = source[rows, value]
    logits = run(
        attention.model,
        attention.params,
        attention.tokens,
        interchange(attention.other, ["block_1/block_input"], value),
    )
    by_hand = lambda residual: references.transformer(
        attention.params, attention.activations["embedding"], {"block_1/block_input": residual}
    )["logits"]
    expected = by_hand(residual)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    assert differs(by_hand(live), expected, 1e-2).all()


@pytest.mark.parametrize("mixer", ["based", "mamba"])
def test_a_patched_run_is_the_last_block_applied_to_the_patched_stream(mixer):
    """Catches a patch that acts anywhere but on the block's own input."""
    subject = subject_of(mixer)
    config, value = subject.config, subject.batch.roles["value"][:, 0]
    source = subject.other["block_1/block_input"]
    here = jnp.arange(LENGTH)[None, :, None] == value[:, None, None]
    residual = jnp.where(here, source, subject.activations["block_1/block_input"])
    block = Block(config.build_mixer(1), config.block(1))
    expected = jax.jit(lambda p, r: block.apply({"params": p}, r))(
        subject.params["block_1"], residual
    )
    _, seen = subject.observe(subject.restore("block_1/block_input", value))
    np.testing.assert_allclose(seen["block_1/block_output"], expected, rtol=1e-4, atol=1e-4)
    before = subject.activations["block_1/block_output"]
    assert differs(before, expected, 1e-2).all()


class Composition(chex.TestCase):
    """Interventions under the transformations of JAX, compiled and not."""

    def setUp(self):
        super().setUp()
        self.subject = subject_of("attention")

    def _at(self, positions):
        """Logits of the clean documents, patched at `positions`."""
        subject = self.subject
        patch = interchange(subject.other, ["block_1/block_input"], positions)
        return run(subject.model, subject.params, subject.tokens, patch)

    @chex.variants(with_jit=True, without_jit=True)
    def test_vmap_over_positions(self):
        """Catches masks or values that must be concrete, or an axis that is mixed up."""
        key = self.subject.key
        positions = jnp.stack([key, key + 1, NOWHERE])
        together = self.variant(jax.vmap(self._at))(positions)
        apart = [
            self.subject.patched(self.subject.restore("block_1/block_input", p)) for p in positions
        ]
        np.testing.assert_allclose(together, np.stack(apart), rtol=1e-4, atol=1e-4)
        assert differs(together[0], together[1]).all()

    @chex.variants(with_jit=True, without_jit=True)
    def test_gradient_of_a_value(self):
        """Catches a gradient that is stopped at a site, or that leaks outside its mask."""
        subject, site = self.subject, "block_1/block_input"
        mask = positions_mask(subject.key, LENGTH, 3)

        def loss(value):
            patch = {site: {"value": value, "mask": mask}}
            return (run(subject.model, subject.params, subject.tokens, patch) ** 2).mean()

        value = subject.other["block_1/block_input"]
        gradient = np.asarray(self.variant(jax.grad(loss))(value))
        at_key = np.broadcast_to(np.asarray(mask), gradient.shape)
        assert not gradient[~at_key].any()
        assert np.abs(gradient[at_key]).min() > 0
        step = 1e-2 * jnp.asarray(gradient) / np.linalg.norm(gradient)
        after, before = jax.lax.map(loss, jnp.stack([value + step, value - step]))
        rise = (after - before) / 2e-2
        np.testing.assert_allclose(rise, np.linalg.norm(gradient), rtol=2e-2)


def broken(change):
    """The attention subject's patch at one site, with its entry changed."""
    subject = subject_of("attention")
    entry = subject.restore("block_1/mixer_output", subject.key)["block_1/mixer_output"]
    return {"block_1/mixer_output": change(dict(entry))}


BROKEN = {
    "broadcastable shape": (
        lambda entry: entry | {"value": entry["value"][:1, :1]},
        r"block_1/mixer_output: the value is float32\[1, 1, 16\], "
        r"the activation float32\[4, 13, 16\]",
    ),
    "other length": (lambda entry: entry | {"value": entry["value"][:, 1:]}, r"\[4, 12, 16\]"),
    "integers": (lambda entry: entry | {"value": entry["value"].astype(jnp.int32)}, "int32"),
    "half precision": (
        lambda entry: entry | {"value": entry["value"].astype(jnp.float16)},
        "float16",
    ),
    "mask of numbers": (lambda entry: entry | {"mask": entry["mask"] * 1.0}, "must be bool"),
    "mask of other documents": (
        lambda entry: entry | {"mask": entry["mask"][:1]},
        "same documents and positions",
    ),
    "mask without channels": (
        lambda entry: entry | {"mask": entry["mask"][..., 0]},
        "same documents and positions",
    ),
    "mask that selects nothing": (
        lambda entry: entry | {"mask": jnp.zeros_like(entry["mask"])},
        "selects no position",
    ),
    "no value": (lambda entry: {"mask": entry["mask"]}, "has a value"),
    "mask of a shift": (
        lambda entry: {"mask": entry["mask"], "shift": entry["value"]},
        "a mask without a value",
    ),
    "shift of other documents": (
        lambda entry: {"shift": entry["value"][1:]},
        r"the shift is float32\[3, 13, 16\], the activation float32\[4, 13, 16\]",
    ),
    "projection of other channels": (
        lambda entry: entry | {"projection": jnp.eye(15)},
        r"the projection is \[15, 15\], the activation has 16 channels",
    ),
    "another leaf later": (
        lambda entry: entry | {"then": {"shfit": entry["value"]}},
        "has a value",
    ),
    "an array alone": (lambda entry: entry["value"], "not an array alone"),
    "another leaf": (lambda entry: entry | {"valeu": entry["value"]}, "has a value"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_intervention_is_refused(case, attention):
    """Catches a patch that Flax or broadcasting would accept, or drop, without a word."""
    change, message = BROKEN[case]
    validate(broken(lambda entry: entry), attention.activations)
    with pytest.raises(UserError, match=message):
        validate(broken(change), attention.activations)


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("block_1/mixer_outptu", "block_1/mixer_output"),
        ("blok_1/block_input", "block_1/block_input"),
        ("finalnorm", "final_norm"),
    ],
)
def test_a_misspelt_path_names_the_nearest(path, nearest, attention):
    """Catches a path that no module has, which Flax ignores silently."""
    value = attention.other["block_1/mixer_output"]
    patch = {path: {"value": value}}
    with pytest.raises(UserError, match=re.escape(f"did you mean '{nearest}'")):
        validate(patch, attention.activations)
    with pytest.raises(UserError, match=re.escape(f"did you mean '{nearest}'")):
        interchange(attention.other, [path], attention.key)


def test_no_intervention_at_all_is_refused(attention):
    """Catches an empty patch that would be reported as one without effect."""
    with pytest.raises(UserError, match="no interventions"):
        validate({}, attention.activations)


def test_an_intervention_that_changes_nothing_is_refused(attention):
    """Catches a source that was captured from the run that is patched."""
    site = "block_1/block_input"
    own = interchange(attention.activations, [site], attention.key)
    with pytest.raises(UserError, match="nothing would change"):
        validate(own, attention.activations)
    validate(own, attention.activations, must_change=False)
    # The runs differ from the key on: before it, another run's value is the live one.
    before_key = attention.restore(site, jnp.zeros(DOCUMENTS, jnp.int32))
    with pytest.raises(UserError, match="nothing would change"):
        validate(before_key, attention.activations)
    validate(attention.restore(site, attention.key), attention.activations)
    # One that changes something does not excuse another that does not.
    both = compose(attention.restore("block_0/block_input", attention.key), own)
    with pytest.raises(UserError, match=f"{site}: the value is the live one"):
        validate(both, attention.activations)


def test_a_position_outside_the_document_is_refused():
    """Catches positions in the padding, and an absent role mistaken for one."""
    lengths = jnp.array([5, 3])
    validate_positions(jnp.array([4, -1]), lengths)
    validate_positions(jnp.array([[0, 4], [2, -1]]), lengths)
    with pytest.raises(UserError, match="position 3 lies outside document 1, which has 3 tokens"):
        validate_positions(jnp.array([4, 3]), lengths)
    with pytest.raises(UserError, match="position 5 lies outside document 0, which has 5 tokens"):
        validate_positions(jnp.array([[0, 5], [2, 9]]), lengths)


def test_flat_and_nested_are_the_same(attention):
    """Catches a path that is lost or renamed on its way to the modules."""
    assert set(attention.activations) == set(attention.sites)
    for path, entry in interchange(attention.activations, attention.sites).items():
        inner = nested({path: entry})
        for name in path.split("/"):
            assert set(inner) == {name}
            inner = inner[name]
        assert inner is entry


def test_names_of_other_tools_in_interventions(subject):
    """Catches an entry under an alias that no module finds, and one of two that is dropped."""
    patch = subject.restore("block_1/block_input", subject.key)
    renamed = {"blocks.1.hook_resid_pre": patch["block_1/block_input"]}
    validate(renamed, subject.activations)
    same(subject.patched(renamed), subject.patched(patch))
    by_alias = run(subject.model, subject.params, subject.tokens, renamed)
    np.testing.assert_allclose(by_alias, subject.patched(patch), rtol=1e-4, atol=1e-4)
    for both in (nested, compose, lambda both: validate(both, subject.activations)):
        with pytest.raises(UserError, match="two of these are one site"):
            both(patch | renamed)


def test_interchange_with_a_known_base(subject):
    """Catches a base that is put in at the positions, or a state whose later tokens are held."""
    states = [site for site in subject.sites if site.endswith("/state")][:1]
    for site in ("block_1/block_input", *states):
        part = interchange(subject.other, site, subject.key)
        held = interchange(subject.other, site, subject.key, base=subject.activations)
        assert set(held[site]) == ({"value", "mask"} if site in states else {"value"})
        same(subject.patched(held), subject.patched(part))


def test_positions_where_only_the_query_is_computed():
    """Catches a role that is read at the query's place though it stands elsewhere."""
    query, positions = jnp.array([[5], [3]]), jnp.array([[5, 2, -1], [1, 3, 3]])
    whole, at_query = jnp.zeros((2, 7, 4)), jnp.zeros((2, 1, 4))
    same(as_computed(positions, query, whole), positions)
    same(as_computed(positions, query, at_query), [[0, -1, -1], [-1, 0, 0]])
    same(as_computed(positions[:, 0], query, at_query), [[0], [-1]])
