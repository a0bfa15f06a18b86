# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Surgery on a recurrent state
#
# A state space model reads a document once and keeps what it needs in a *state* of fixed size. In
# Gated DeltaNet the state of a layer is a matrix, to which each token adds an outer product of a
# key and a value. The quickstart's Gated DeltaNet answers which value belongs to a key. Does the
# answer come out of this matrix, and can it be changed by hand?
#
# Run it from the repository's root after `bash launch/quickstart.sh`,
# `python docs/state_surgery.py`, or open the notebook, which trains what is missing.

# %%
import os
import pathlib
import sys

sys.path.insert(0, os.getcwd())

import jax
import jax.numpy as jnp
import pandas as pd

import mecheval_jax as me
from mecheval_jax import interventions as iv

QUICKSTART = pathlib.Path(os.environ.get("QUICKSTART", "runs/quickstart"))
trained = me.load(QUICKSTART / "gated_delta_net")
model, params = trained.model, trained.params
drawn = trained.documents(96)
# Those in which the asked pair is not the last: the tokens behind it are looked at, too.
places = ("key", "value", "next_key", "value+2")
whole = (me.locate(drawn, *places, skip_absent=True) >= 0).all(axis=1)
batch = jax.tree.map(lambda array: array[whole], drawn)
print(len(batch.tokens), "documents, the first of them:")
print(trained.task.describe(batch, 0))

# %% [markdown]
# ## Where is the pair written?
#
# The write of a token is taken away in layer 1: at the key, at the value, and at the two tokens
# behind it, since the layer's short convolutions mix four neighbours; and at the last three of them
# together. Where the answer is lost, the pair was written.

# %%
WRITE, STATE = "block_1/mixer/write", "block_1/mixer/state"
seen = me.capture(model, params, batch)


def answers(patch: dict | None = None, targets: jax.Array | None = None) -> float:
    """Mean probability of the right answers, or of others, under an intervention."""
    asked = batch if targets is None else batch.replace(targets=targets)
    return float(me.answer_probability(me.run(model, params, batch, patch), asked).mean())


lost = {name: answers(iv.zero(seen, [WRITE], me.locate(batch, name))) for name in places}
place = min(lost, key=lost.get)
behind = me.locate(batch, *places[1:])
lost["all three behind the key"] = answers(iv.zero(seen, [WRITE], behind))
print(f"as it is: {answers():.3f}")
print(pd.Series(lost, name="without the write at").round(3).to_string())

# %% [markdown]
# ## Erase it
#
# Right before the question the state is changed so that it answers nothing to one key; every key
# orthogonal to it is answered as before. The key is that of the write whose loss cost most, and
# then the one with which the question reads.

# %%
rows = jnp.arange(len(batch.tokens))
written = me.locate(batch, place)[:, 0]
before = me.locate(batch, "query")[:, 0] - 1
asking = me.locate(batch, "query")[:, 0]
key, value = (seen[f"block_1/mixer/{name}"][rows, written] for name in ("k", "v"))
key /= jnp.linalg.norm(key, axis=-1, keepdims=True)  # as the layer does before it writes
keys = {f"written at {place}": key, "asked": seen["block_1/mixer/q"][rows, asking]}
for name, one in keys.items():
    erased = answers(iv.erase_association(seen, STATE, one, before))
    print(f"probability of the right answer after the key {name} was erased: {erased:.3f}")

# %% [markdown]
# ## Write another answer
#
# Each document gets the value that another document wrote at the same token. If the answer is read
# out of the state by this key, the model now gives the other document's answer.

# %%
others, asked = jnp.roll(value, 1, axis=0), jnp.roll(batch.targets, 1, axis=0)
edit = iv.replace_association(seen, STATE, key, others, before)
table = pd.DataFrame(
    {
        "its own answer": {"as it is": answers(), "edited": answers(edit)},
        "the other's answer": {
            "as it is": answers(None, asked),
            "edited": answers(edit, asked),
        },
    }
)
print(table.round(3).to_string())

# %% [markdown]
# The answer does come out of this matrix: without the writes at three tokens, or without what the
# question's key reads, no more is left than a guess among the four values. And it can be changed by
# hand: most documents get the other's answer. How the pair is spread over the three tokens differs
# from seed to seed: here each of two writes is enough without the other, and in other runs one
# token has all of it. How an edit fares over many documents, and what it does to the other pairs,
# measures `python -m launch.evaluate --workdir=DIR --analyses=editing` ([memory.md](memory.md)).
