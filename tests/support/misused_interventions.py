"""Misuses of interventions, each with words that its error has; see `misuses`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mecheval_jax as me
from mecheval_jax import interventions as iv
from mecheval_jax.interventions.checks import validate_positions

SITE, STATE = "block_1/block_input", "block_0/mixer/state"

INTERVENTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "interchange: unknown site": (lambda w: me.interchange(w.clean, ["block_7/x"]), "block_7/x"),
    "interchange: no activations": (lambda w: me.interchange({}, [SITE]), SITE),
    "interchange: positions of other documents": (
        lambda w: w.ran(me.interchange(w.clean, [SITE], w.value[:3])),
        "positions of 3 documents: the activations are of 8",
    ),
    "interchange: positions that are a list": (
        lambda w: me.interchange(w.clean, [SITE], [1, 2]),
        "[1, 2], of type list",
    ),
    "interchange: a role in place of positions": (
        lambda w: me.interchange(w.clean, [SITE], "value"),
        "locate",
    ),
    "interchange: positions that are no whole numbers": (
        lambda w: me.interchange(w.clean, [SITE], w.value * 1.0),
        "float32",
    ),
    "interchange: activations of fewer documents": (
        lambda w: w.ran(me.interchange(me.capture(*w.model, w.run.documents(3)), [SITE])),
        "float32[3, 9, 16]",
    ),
    "interchange: activations of one document": (
        lambda w: w.ran(me.interchange(me.capture(*w.model, w.run.documents(1)), [SITE])),
        SITE,
    ),
    "run: a misspelt site": (
        lambda w: w.ran({"block_1/block_inptu": w.patch[SITE]}),
        "did you mean 'block_1/block_input'?",
    ),
    "run: a layer that is not there": (
        lambda w: w.ran({"block_7/block_input": w.patch[SITE]}),
        "block_7/block_input",
    ),
    "run: a site of another mixer": (
        lambda w: w.ran({"block_1/mixer/pattern": w.patch[SITE]}),
        "block_1/mixer/pattern",
    ),
    "run: an array in place of an entry": (
        lambda w: w.ran({SITE: w.clean[SITE]}),
        "not an array alone",
    ),
    "run: an entry with a misspelt field": (
        lambda w: w.ran({SITE: {"valeu": w.clean[SITE]}}),
        "valeu",
    ),
    "run: an entry without a field": (lambda w: w.ran({SITE: {}}), "not nothing"),
    "run: an array behind an entry": (
        lambda w: w.ran({SITE: {"value": w.clean[SITE], "then": w.clean[SITE]}}),
        "not an array alone",
    ),
    "run: a number in place of a site": (
        lambda w: w.ran({3: w.patch[SITE]}),
        "the site is 3, of type int",
    ),
    "interchange: a number in place of a site": (
        lambda w: me.interchange(w.clean, [3]),
        "the site is 3, of type int",
    ),
    "channels: interventions that are a list": (
        lambda w: iv.on_channels([w.patch], [0]),
        "compose",
    ),
    "run: a mask alone": (lambda w: w.ran({SITE: {"mask": w.patch[SITE]["mask"]}}), "mask"),
    "run: a value that is broadcast": (
        lambda w: w.ran({SITE: {"value": w.clean[SITE][:1]}}),
        "[1, ",
    ),
    "run: a value of another width": (
        lambda w: w.ran({SITE: {"value": w.clean[SITE][..., :8]}}),
        SITE,
    ),
    "run: a value that is a number": (lambda w: w.ran({SITE: {"value": 0.0}}), SITE),
    "run: a value of whole numbers": (
        lambda w: w.ran({SITE: {"value": w.clean[SITE].astype(int)}}),
        "int32",
    ),
    "run: interventions that are a list": (lambda w: w.ran([w.patch]), "compose"),
    "run: activations in place of interventions": (lambda w: w.ran(w.clean), "not an array alone"),
    "compose: a path in place of interventions": (lambda w: me.compose(w.patch, SITE), SITE),
    "merge: the same site twice": (
        lambda w: me.merge_disjoint(w.patch, w.patch, me.interchange(w.clean, [SITE])),
        SITE,
    ),
    "channels: beyond the width": (lambda w: iv.on_channels(w.patch, [16]), "no channel 16"),
    "steer: a vector of another width": (
        lambda w: iv.steer(w.clean, [SITE], jnp.ones(8)),
        "8",
    ),
    "swap: documents that are not there": (
        lambda w: iv.swap(w.clean, [SITE], jnp.full(8, 9)),
        "donor of document 0 is 9",
    ),
    "steer: positions of other documents": (
        lambda w: iv.steer(w.clean, [SITE], jnp.ones(16), w.value[:1]),
        "positions of 1 documents: the activations are of 8",
    ),
    "steer: a list": (lambda w: iv.steer(w.clean, [SITE], [1.0] * 16), "the direction is [1.0"),
    "projection: a list": (lambda w: iv.projection_onto([[1.0]]), "the basis is [[1.0]]"),
    "projection: a vector": (lambda w: iv.projection_onto(jnp.ones(4)), "the basis is [4]: it"),
    "subspace: a list": (lambda w: w.exchanged([[1.0]]), "the projection is [[1.0]]"),
    "subspace: no square": (lambda w: w.exchanged(jnp.ones((16, 2))), "it takes a square matrix"),
    "channels: a projection behind another intervention": (
        lambda w: iv.on_channels(me.compose(w.patch, w.exchanged(jnp.eye(16))), [0]),
        "the projection mixes the channels of what comes before it",
    ),
    "swap: a list of documents": (
        lambda w: iv.swap(w.clean, [SITE], [1, 0]),
        "one of the donors is",
    ),
    "resample: a list of positions": (
        lambda w: iv.resample(w.clean, [SITE], jax.random.key(0), [1, 2]),
        "an array of positions",
    ),
    "resample: a seed in place of a key": (lambda w: iv.resample(w.clean, [SITE], 0), "key"),
    "gaussian: a seed in place of a key": (lambda w: iv.gaussian(w.clean, [SITE], 0), "key"),
    "knockout: a head that is not there": (
        lambda w: iv.knockout_heads(w.clean, ["block_0/mixer/head_output"], [5]),
        "no head 5",
    ),
    "knockout: an array of heads, of which one is not there": (
        lambda w: iv.knockout_heads(w.clean, ["block_0/mixer/head_output"], np.array([0, 5])),
        "no head 5",
    ),
    "knockout: a name in place of heads": (
        lambda w: iv.knockout_heads(w.clean, ["block_0/mixer/head_output"], "first"),
        "no head first",
    ),
    "knockout: scores of a mixer without attention": (
        lambda w: iv.knockout_edges(w.clean, ["block_1/mixer/state"]),
        "no scores",
    ),
    "erase: a site that is no state": (
        lambda w: iv.erase_association(w.clean, SITE, jnp.ones(4), w.value),
        "no state",
    ),
    "path patch: a receiver before the sender": (
        lambda w: iv.path_patch(*w.model, w.batch.tokens, w.patch, "embedding"),
        "computed before",
    ),
    "validate: nothing": (lambda w: me.validate({}, w.clean), "no interventions"),
    "interchange: a position without documents": (
        lambda w: me.interchange(w.clean, [SITE], jnp.asarray(2)),
        "positions are int32[]",
    ),
    "interchange: a base of one document": (
        lambda w: me.interchange(w.clean, [SITE], w.value, {SITE: w.clean[SITE][:1]}),
        "the base run has [1, ",
    ),
    "swap: donors that are no whole numbers": (
        lambda w: iv.swap(w.clean, [SITE], jnp.arange(8.0)),
        "donors are float32[8]",
    ),
    "swap: donors that are a mask": (
        lambda w: iv.swap(w.clean, [SITE], jnp.ones(8, bool)),
        "donors are bool[8]",
    ),
    "channels: none": (lambda w: iv.on_channels(w.patch, []), "no channels"),
    "subspace: a basis without columns": (
        lambda w: iv.projection_onto(jnp.zeros((16, 0))),
        "with a column at least",
    ),
    "gaussian: a key that is none": (
        lambda w: iv.gaussian(w.clean, [SITE], jnp.ones(3)),
        "the key is float32[3]: give a random key",
    ),
    "merge: batches of two sizes": (
        lambda w: me.merge_disjoint(
            w.patch, me.interchange({SITE: w.clean[SITE][:4]}, [SITE], w.value[:4])
        ),
        "values of shapes",
    ),
    "path patch: a base run without an output": (
        lambda w: iv.freeze({SITE: w.clean[SITE]}, w.run.model.config, ["embedding"], SITE),
        "the base run has no block_0/mixer_output",
    ),
    "path patch: several receivers": (
        lambda w: iv.path_patch(*w.model, w.batch.tokens, w.patch, [SITE]),
        "the site",
    ),
    "locate: a query that is no index": (
        lambda w: iv.locate(w.batch, "key", query="a"),
        "the query is 'a'",
    ),
    "positions: of fewer documents": (
        lambda w: validate_positions(jnp.zeros(3, int), w.batch.lengths),
        "3 positions for 8 documents",
    ),
    "positions: far beyond": (
        lambda w: validate_positions(np.full(8, 2**40), w.batch.lengths),
        "position 1099511627776 lies outside document 0",
    ),
    "positions: a mask": (
        lambda w: validate_positions(iv.inside(w.batch), w.batch.lengths),
        "positions are a mask",
    ),
}
