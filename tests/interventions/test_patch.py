"""The algebra of interventions, exact to the bit."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import (
    compose,
    interchange,
    interchange_subspace,
    merge_disjoint,
    on_channels,
    pin,
    run,
    steer,
    swap,
    validate,
    zero,
)
from mecheval_jax.interventions.positions import positions_mask
from mecheval_jax.sites import rewrite
from tests.support.rewrites_by_hand import (
    COLUMNS,
    FLAT,
    HEADS,
    LIVE,
    OTHER,
    Values,
    applied,
    found,
)
from tests.support.rewrites_by_hand import WIDTH as CHANNELS
from tests.support.two_runs import (
    DOCUMENTS,
    EVERYWHERE,
    LENGTH,
    NOWHERE,
    WIDTH,
    differs,
    same,
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
    at_key = positions_mask(subject.key, (len(subject.key), LENGTH, 1))
    same(entry["value"], jnp.where(at_key, 0, subject.other["block_1/block_input"]))


def test_a_shift_is_added_to_the_live_activation(subject):
    """Catches a shift of the stored activation, which loses what flows in from before."""
    early, site = subject.restore("block_0/block_input"), "block_1/mixer_output"
    live = subject.observe(early)[1][site]
    shift = jnp.where(positions_mask(subject.key, live.shape), 0.5, jnp.zeros_like(live))
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
    whole = {site: {"value": attention.other[site][:1]}}  # it would leave nothing of the first
    for later in (one, whole):
        with pytest.raises(UserError, match=r"\(4, 13, 16\) and \(1, 13, 16\)"):
            compose(first, later)


def test_a_later_site_overrides_what_flows_into_it(subject):
    """Catches patches that are applied to a stored run and not to the live activations."""
    early = subject.restore("block_0/block_input")
    own = interchange(subject.activations, ["block_1/block_input"], EVERYWHERE)
    same(subject.patched(early, own), subject.logits)
    # Where the later site does not act, the earlier one flows through.
    own_at_bos = interchange(subject.activations, ["block_1/block_input"], jnp.zeros_like(NOWHERE))
    same(subject.patched(early, own_at_bos), subject.other_logits)


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


def test_interchange_with_a_known_base(subject):
    """Catches a base that is put in at the positions, or a state whose later tokens are held."""
    states = [site for site in subject.sites if site.endswith("/state")][:1]
    for site in ("block_1/block_input", *states):
        part = interchange(subject.other, site, subject.key)
        held = interchange(subject.other, site, subject.key, base=subject.activations)
        assert set(held[site]) == ({"value", "mask"} if site in states else {"value"})
        same(subject.patched(held), subject.patched(part))


class Swaps(Values):
    """Values of other runs and other documents, compiled and not."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_interchange(self):
        """Catches a position read as a column, a mask read as integers, absent ones as last."""
        self.check(
            lambda sites, p: interchange(OTHER, sites, p),
            lambda form, path: lambda document, place: found(form, path)[place][document],
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_swap(self):
        """Catches the donor read at the other document's position, and a permutation inverted."""
        donors = [2, 0, 1, 4, 5, 3]
        self.check(
            lambda sites, p: swap(OTHER, sites, jnp.array(donors), p),
            lambda form, path: lambda d, place: found(form, path)[place].get(donors[d]),
        )


def test_sites_that_can_be_read_once():
    """Catches an iterator of sites that is spent on the base before the source is read."""
    once = interchange(OTHER, iter([FLAT, HEADS]), COLUMNS, base=LIVE)
    assert list(once) == [FLAT, HEADS]


def test_donors_are_documents():
    """Catches a donor that wraps or is clipped, and a list that is shorter than the documents."""
    tree = {"embedding": jnp.arange(24.0).reshape(3, 4, 2)}
    for donors, message in (
        ([0, 1], r"donors are int32\[2\]: the index of one for each of 3 documents"),
        ([0, 3, 1], "the donor of document 1 is 3: valid are 0 to 2"),
        ([0, 1, -1], "the donor of document 2 is -1"),
    ):
        with pytest.raises(UserError, match=message):
            swap(tree, "embedding", jnp.array(donors))


def test_channels():
    """Catches channels counted from the wrong axis, and a shift or projection left whole."""
    projection = jnp.full((CHANNELS, CHANNELS), 1 / CHANNELS)
    patches = [
        interchange(OTHER, [FLAT], COLUMNS),
        interchange(OTHER, [FLAT]),
        steer(LIVE, [FLAT], jnp.ones(CHANNELS), COLUMNS),
        interchange_subspace(OTHER, [FLAT], projection, COLUMNS),
        compose(
            interchange_subspace(OTHER, [FLAT], projection), steer(LIVE, [FLAT], jnp.ones(CHANNELS))
        ),
    ]
    for patch in patches[:4]:
        whole, some = applied(patch)[FLAT], applied(on_channels(patch, [1, 3]))[FLAT]
        np.testing.assert_array_equal(some[..., [1, 3]], whole[..., [1, 3]])
        np.testing.assert_array_equal(some[..., [0, 2]], LIVE[FLAT][..., [0, 2]])
        assert (np.asarray(whole) != np.asarray(some)).any()
    some = applied(on_channels(patches[4], [1]))[FLAT]
    np.testing.assert_array_equal(some[..., [0, 2, 3]], LIVE[FLAT][..., [0, 2, 3]])
    assert (np.asarray(some)[..., 1] != np.asarray(LIVE[FLAT])[..., 1]).all()
    with pytest.raises(UserError, match=f"{FLAT} has no channel 4: valid are 0 to 3"):
        on_channels(patches[0], [4])


def test_claims_without_an_order():
    """Catches a claim that is overwritten silently, and one reported where there is none."""
    first, apart = jnp.array([0, 1, 4, 2, 3, -1]), jnp.array([1, 2, 0, 3, 4, 2])
    value, beside = interchange(OTHER, [FLAT], first), zero(LIVE, [FLAT], apart)
    both = applied(merge_disjoint(value, beside, zero(LIVE, [HEADS])))
    np.testing.assert_array_equal(both[FLAT], applied(compose(beside, value))[FLAT])
    up = steer(LIVE, [FLAT], jnp.ones(CHANNELS), first)
    np.testing.assert_allclose(
        applied(merge_disjoint(up, up))[FLAT], applied(compose(up, up))[FLAT], rtol=1e-6
    )
    clash = zero(LIVE, [FLAT], jnp.array([-1, -1, 4, 2, -1, -1]))
    for others in ((value, clash), (value, beside, up), (up, value)):
        with pytest.raises(UserError, match=f"claim {FLAT} at"):
            merge_disjoint(*others)
    with pytest.raises(UserError, match="at 2 positions, the first of them 4 in document 2"):
        merge_disjoint(value, clash)
