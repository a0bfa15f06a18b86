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
# # Choosing an architecture
#
# Which model should one take for a task that asks for recall? Accuracy alone does not say: several
# may reach it, by different mechanisms and at different costs. `choose` trains candidates, judges
# by which mechanism each recalls, measures what it costs at a length of context, and advises by a
# stated rule ([choosing.md](choosing.md)). Here are two candidates on the quickstart's task, with
# two learning rates: some ten minutes on two cores.

# %%
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, os.getcwd())

import pandas as pd

from mecheval_jax.reporting.figures.comparison_figures import cost_against_accuracy

CHOICE = pathlib.Path(os.environ.get("CHOICE", "runs/choice_of_two"))
STEPS = os.environ.get("CHOICE_STEPS", "4000")
config = f"recall:pairs=4,keys=32,steps={STEPS}"
flags = ["--config.training.training_batches=400", "--mixer=based", "--mixer=mamba", "--widths=64"]
flags += ["--learning_rates=3e-3,1e-2", "--seeds=1", f"--workdir={CHOICE}"]
command = [sys.executable, "-m", "mecheval_jax", "choose", config, *flags]
done = subprocess.run(command, capture_output=True, text=True, check=False)
print(done.stdout if done.returncode == 0 else done.stderr)

# %% [markdown]
# ## What was found
#
# `choice.csv` has a row for each architecture and width. `learned` of `members` says how many of
# the runs that differ in their seeds alone have learned; the accuracy is that of the run which
# answers dev documents best, on test documents.

# %%
choice = pd.read_csv(CHOICE / "choice.csv").set_index("mixer")
print(choice[["accuracy", "low", "high", "floor", "learned", "members", "verdict"]].T.to_string())

# %% [markdown]
# ## What it costs
#
# A forward pass over a document, and a token when decoding, at the length of context that was asked
# for; and the bytes that the model must keep to go on.

# %%
costs = ["length", "prefill_seconds", "decode_seconds", "state_bytes", "parameters"]
print(choice[costs].T.to_string())
cost_against_accuracy(choice.reset_index())

# %% [markdown]
# ## The advice
#
# Every sentence rests on numbers that stand beside it in `advice.json`. Of models whose accuracies
# cannot be told apart the cheapest is recommended; where nothing has learned, there is no
# recommendation.

# %%
advice = json.loads((CHOICE / "advice.json").read_text())
print(advice["state"])
for paragraph in advice["paragraphs"]:
    print(f"{paragraph['topic']}: {paragraph['text']}")
