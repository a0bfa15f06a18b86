"""Recall tasks: documents, the queries about them, and their corruptions."""

from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from mecheval_jax.tasks.synthetic.in_context_bigrams import InContextBigrams
from mecheval_jax.tasks.synthetic.induction_heads import InductionHeads
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.synthetic.noisy_recall import NoisyRecall
from mecheval_jax.tasks.synthetic.selective_copying import SelectiveCopying
from mecheval_jax.tasks.treecall.treecall import Treecall

TASKS: dict[str, type] = {
    "associative_recall": AssociativeRecall,
    "treecall": Treecall,
    "multi_query_recall": MultiQueryRecall,
    "selective_copying": SelectiveCopying,
    "induction_heads": InductionHeads,
    "noisy_recall": NoisyRecall,
    "fuzzy_recall": FuzzyRecall,
    "in_context_bigrams": InContextBigrams,
    "documents": Documents,
}
"""The tasks by the name that a config gives them."""
