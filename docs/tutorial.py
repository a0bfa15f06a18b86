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
# # Same accuracy, different mechanism
#
# `bash launch/quickstart.sh` trained two models, Based and Gated DeltaNet, that answer the same
# questions equally well. This notebook asks each of them *how*, one intervention at a time, and
# ends with the figure in which they lie apart.
#
# Its source is `docs/tutorial.py`, which runs as a program, too: `python docs/tutorial.py` from the
# repository's root.

# %%
import os
import pathlib
import sys

sys.path.insert(0, os.getcwd())

import pandas as pd

import mecheval_jax as me
from mecheval_jax.reporting.figures.run_figures import layer_scatter
from mecheval_jax.reporting.figures.saving import save

QUICKSTART = pathlib.Path(os.environ.get("QUICKSTART", "runs/quickstart"))
models = {name: me.load(QUICKSTART / name) for name in ("based", "gated_delta_net")}
task, batch = models["based"].task, models["based"].documents()

# %% [markdown]
# ## The task
#
# A document lists pairs and then asks for the value of one key. Positions have names, *roles*, so
# that an intervention can be made "at the value" although it stands elsewhere in every document.

# %%
print(task.describe(batch, 0))
for name, trained in models.items():
    summary = trained.folder.read_summary()
    accuracy, floor = summary["accuracy"], summary["floors"]["best"]
    print(f"{name}: accuracy {accuracy:.1%}, without recall at best {floor:.1%}")

# %% [markdown]
# ## One intervention
#
# The key is replaced by another one, and the right answer can no longer be told. Then vectors of
# the clean run, the input of layer 1 at some roles, are put back. Everything downstream follows. If
# the answer returns, these vectors carried it. The key is the earlier token of its pair: what a
# later position still holds of the original key was bound there.

# %%
corrupted = models["based"].corrupt(batch, "key")


def probability(trained: me.Run, documents: me.Batch, patch: dict | None = None) -> float:
    """Mean probability of the right answer."""
    logits = me.run(trained.model, trained.params, documents, patch)
    return float(me.answer_probability(logits, batch).mean())


def attribution(trained: me.Run, sites: list[str], *roles: str) -> float:
    """Share of the answer's probability that clean vectors at some roles, together, bring back."""
    clean, base = probability(trained, batch), probability(trained, corrupted)
    seen = me.capture(trained.model, trained.params, batch, sites)
    patch = me.interchange(seen, sites, me.locate(batch, *roles, skip_absent=True))
    return (probability(trained, corrupted, patch) - base) / (clean - base)


PLACES = {
    "pair": ("value", "next_key"),  # from the later token of the pair on
    "key": ("key",),
    "query": ("query",),
    "elsewhere": ("key", "query"),
}
cut = ["block_1/block_input"]
by_hand = pd.DataFrame(
    {
        place: {name: attribution(trained, cut, *roles) for name, trained in models.items()}
        for place, roles in PLACES.items()
    }
)
print(by_hand.round(2))

# %% [markdown]
# In Based the pair's own positions bring the answer back: layer 0 had bound the pair there, and
# layer 1 looked it up, *induction*. In Gated DeltaNet they do nothing: the answer comes back at the
# key, which knows nothing of the value yet.
#
# ## Inside a layer
#
# Is nothing bound in Gated DeltaNet, then? Before a layer writes into its state, short
# convolutions mix four neighbouring tokens. At the value, and at the two tokens behind it, their
# outputs can hold both key and value.

# %%
convolutions = [f"block_1/mixer/{name}" for name in ("q", "k", "v")]
for roles in (("key",), ("value",), ("next_key",), ("value+2",), ("value", "next_key", "value+2")):
    share = attribution(models["gated_delta_net"], convolutions, *roles)
    print(f"{', '.join(roles)}: {share:.2f}")

# %% [markdown]
# The convolutions have joined them: *convolutional binding*. Each of the three tokens brings a part
# of the answer back, and all of them together most of it: sets of positions are exchanged
# together, never added up. Had the convolutions not joined them, the answer would have to be lost
# when layer 1 reads another pair at the query: only then is it *direct retrieval*.
#
# ## All of them at once
#
# `me.intervene` does this at every site, role, corruption and direction in one compiled program,
# with intervals and controls, and says what follows from it.

# %%
tables = {}
for name in models:
    tables[name], verdict = me.intervene(QUICKSTART / name)
    print(f"{name}: {verdict.verdict}: {verdict.reason}")

# %% [markdown]
# ## The figure
#
# Every model is a mark: how much the input of layer 1 restores at the query, and how much at the
# value. Induction lies at the upper left, retrieval by layer 0 at the lower right, retrieval that
# waits for layer 1 near the origin.

# %%
figure, drawn = layer_scatter(tables)
path = save(figure, QUICKSTART / "figures", "tutorial")
print("marks:", ", ".join(drawn) or "none: no model has learned", "in", path)
figure
