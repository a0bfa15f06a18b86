"""Why gated attention did not learn recall in `configs/architectures_2026.py`.

Question: does it lack positions, or does something else of it stand in the way?

    python -m launch.sweep --config=configs/gated_attention.py --workdir=DIR

The same task, replayed set and length of training: two layers of width 32, 4 pairs of 32 keys and
values. As its authors have it, rotary positions turn a quarter of the channels of a head. The other
arms turn all of them; add learned positions to the embedding; or have a convolution of four taps
before the mixer. The last is plain attention with learned positions, without gate and norms. Two
rates and two seeds. With ``smoke=True`` it is a run of a few seconds that learns nothing.

What was found: docs/experiments.md.
"""

from ml_collections import ConfigDict

from configs.architectures_2026 import get_config as small_recall
from configs.grids import Changes, axis, mixers, product, seeds
from mecheval_jax.errors import UserError

ARMS = (
    {"model.mixer_options": {"rotary_share": 0.25}},
    {"model.mixer_options": {"rotary_share": 1.0}},
    {"model.positions": "learned"},
    {"model.canon": 4},
)


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `configs.architectures_2026`."""
    if arg and "=" not in arg.partition(",")[0]:
        # After a mixer it would be taken for that of another layer.
        raise UserError(f"config argument {arg!r}: write name=value, separated by commas")
    return small_recall(f"mixer=gated_attention,{arg}".rstrip(","))


def sweep() -> Changes:
    """Five arms at two learning rates, with two seeds."""
    arms = product(mixers(("gated_attention",)), list(ARMS))
    arms += product(mixers(("attention",)), axis("model.positions", ("learned",)))
    return product(arms, axis("training.learning_rate", (3e-3, 1e-2)), seeds(2))
