"""Names of the front door, each with its home: what type checkers, editors and the package read."""

# ruff: noqa: I001  (in the order of docs/api.md)
# a run from end to end
from mecheval_jax.runs import train as train
from mecheval_jax.runs import load as load
from mecheval_jax.runs import intervene as intervene
from mecheval_jax.runs import analyze as analyze
from mecheval_jax.runs import Run as Run

# what is trained on what
from mecheval_jax.experiment import Experiment as Experiment
from mecheval_jax.models.language_model import LanguageModel as LanguageModel
from mecheval_jax.models.language_model import ModelConfig as ModelConfig
from mecheval_jax.tasks.base import Task as Task
from mecheval_jax.tasks.base import Batch as Batch
from mecheval_jax.tasks import TASKS as TASKS

# looking into a model and cutting into it
from mecheval_jax.interventions import site_paths as site_paths
from mecheval_jax.interventions import locate as locate
from mecheval_jax.interventions import capture as capture
from mecheval_jax.interventions import interchange as interchange
from mecheval_jax.interventions import compose as compose
from mecheval_jax.interventions import merge_disjoint as merge_disjoint
from mecheval_jax.interventions import validate as validate
from mecheval_jax.interventions import run as run
from mecheval_jax.tasks.scoring import answer_probability as answer_probability

__version__: str
HOMES: dict[str, str]
