"""What sites cost, and the page that lists them."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from mecheval_jax.interventions.capture import observe
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.sites import Site, heads_of
from tests.support import planted, small
from tests.support.observed import MIXERS
from tools import write_sites


def test_the_page_of_sites_is_the_code():
    """Catches a page that was edited by hand, or not written again."""
    page = write_sites.render()
    assert (small.ROOT / "docs" / "sites.md").read_text() == page
    for mixer in MIXERS:
        for site in planted.shape_of(mixer).build_mixer(1).SITES:
            assert f"| `{site}` |" in page


def programs(config, params, interventions=None):
    """The program of a model, before and (lazily) after it is compiled."""

    def logits(params, tokens):
        variables = {"params": params, "interventions": interventions or {}}
        return LanguageModel(config).apply(variables, tokens)

    tokens = jnp.zeros((4, 8), jnp.int32)
    traced = jax.jit(logits).trace(params, tokens)
    return str(traced.jaxpr), lambda: traced.lower().compile().cost_analysis()["flops"]


@pytest.mark.parametrize("mixer", MIXERS)
def test_an_unused_site_leaves_no_trace(mixer, monkeypatch):
    """Catches a site that adds an operation (a copy, a mask, a product) where it is not used."""
    config, params, _ = planted.lively(mixer)
    with_sites, flops = programs(config, params)
    monkeypatch.setattr(Site, "__call__", lambda self, live, **_: live)
    without, flops_without = programs(config, params)
    assert with_sites == without
    if mixer in ("attention", "mamba"):
        assert flops() == flops_without() > 0


def test_a_used_site_leaves_a_trace():
    """Shows that the comparison above can tell: catches programs that are never affected."""
    config, params, _ = planted.lively("attention")
    entry = {"value": jnp.ones((4, 8, 16)), "mask": jnp.ones((4, 8, 1), bool)}
    used, flops = programs(config, params, {"block_0": {"mixer_output": entry}})
    unused, flops_unused = programs(config, params)
    assert used != unused
    assert flops() != flops_unused()


def has_heads(mixer):
    """Whether a mixer can have two heads, and a site for the output of each."""
    kind = ARCHITECTURES[mixer].mixer(0)
    fields = {field.name for field in dataclasses.fields(kind)}
    return "heads" in fields and "head_output" in kind.SITES


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if has_heads(name)])
def test_heads_that_add_up(name):
    """Catches heads of a mixer that mixes them again, or has a skip past them that would be shared
    out among them; and heads that add up and are not counted.
    """
    config, params, _ = planted.lively(name, layers=1, mixer_options={"heads": 2})
    model, site, read = LanguageModel(config), "block_0/mixer/head_output", "block_0/mixer_output"

    tokens = jnp.arange(6)[None]
    look = jax.jit(lambda interventions: observe(model, params, tokens, interventions)[1])
    clean = look({})

    def output(*kept):
        """What the mixer gives with some of its heads alone."""
        left_out = jnp.broadcast_to(~jnp.array(kept)[:, None], (1, 6, 2, 1))
        return look({site: {"value": jnp.zeros_like(clean[site]), "mask": left_out}})[read]

    both, none = clean[read], output(False, False)
    first, second = output(True, False), output(False, True)
    rounding = 1e-4 * jnp.abs(both).max()
    add_up = bool(jnp.allclose(first + second - none, both, atol=rounding))
    add_up &= bool(jnp.allclose(none, none[:, :1], atol=rounding))
    assert add_up == (heads_of(config.build_mixer(0)) == 2)
