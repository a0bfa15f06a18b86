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
# `bash launch/quickstart.sh` trained two models, Based and Mamba, that answer the same questions
# equally well. This notebook asks each of them *how*, one intervention at a time, and ends with
# the figure in which they lie apart.
#
# It is a notebook in Jupytext's percent format: open it in an editor that knows cells, convert it
# with `jupytext --to ipynb docs/tutorial.py`, or run it from the repository's root,
# `python docs/tutorial.py`.

# %%
import os
import pathlib
import sys

sys.path.insert(0, os.getcwd())

import pandas as pd

import mecheval_jax as me
from mecheval_jax.reporting.figures.drawing import save
from mecheval_jax.reporting.figures.run_figures import layer_scatter

QUICKSTART = pathlib.Path(os.environ.get("QUICKSTART", "runs/quickstart"))
models = {name: me.load(QUICKSTART / name) for name in ("based", "mamba")}
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
# The key is replaced by another one, and the right answer can no longer be told. Then a single
# vector of the clean run, the input of layer 1 at one role, is put back. Everything downstream
# follows. If the answer returns, that vector carried it.

# %%
corrupted = models["based"].corrupt(batch, "key")


def probability(trained, documents, patch=None):
    """Mean probability of the right answer."""
    logits = me.run(trained.model, trained.params, documents, patch)
    return float(me.answer_probability(logits, batch).mean())


def restored(trained, site, role):
    """Probability of the answer with one clean vector in the corrupted run."""
    clean = me.capture(trained.model, trained.params, batch, [site])
    patch = me.interchange(clean, [site], me.locate(batch, role, skip_absent=True))
    return probability(trained, corrupted, patch)


rows = []
for name, trained in models.items():
    clean, base = probability(trained, batch), probability(trained, corrupted)
    print(f"{name}: probability of the answer {clean:.3f} clean, {base:.3f} with another key")
    for role in ("key", "value", "next_key", "query"):
        share = (restored(trained, "block_1/block_input", role) - base) / (clean - base)
        rows.append({"model": name, "role": role, "attribution": share})
by_hand = pd.DataFrame(rows).pivot(index="model", columns="role", values="attribution")
print(by_hand.round(2))

# %% [markdown]
# In Based the value token alone brings the answer back: layer 0 had bound the pair there, and layer
# 1 looked it up, *induction*. In Mamba it does nothing: the answer comes back at the key, at the
# query, or in part at both. That is *direct retrieval*. At the query, layer 0 has already fetched
# the answer; at the key, layer 1 still has to. How much falls to each depends on task and training:
# in the README's picture, of Mamba on the study's task, all of it is at the query.
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
# value. Induction lies at the upper left, direct retrieval in layer 0 at the lower right, retrieval
# that waits for layer 1 near the origin.

# %%
figure, drawn = layer_scatter(tables)
path = save(figure, QUICKSTART / "figures", "tutorial")
print("marks:", ", ".join(drawn) or "none: no model has learned", "in", path)
