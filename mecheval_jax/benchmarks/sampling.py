"""Documents per second."""

import jax

from mecheval_jax.benchmarks.timing import seconds
from mecheval_jax.tasks.associative_recall import AssociativeRecall


def sampling() -> None:
    """Documents per second, against a plain sampler that draws one at a time."""
    task, count = AssociativeRecall(), 8192
    sample = jax.jit(lambda key: task.sample(key, count, "train"))
    spent = seconds(lambda: sample(jax.random.key(0)))
    one = jax.jit(lambda key: task.sample(key, 1, "train"))
    single = seconds(lambda: one(jax.random.key(0)), repeats=50)
    print(f"\nAR, 16 pairs of 4,096: {count / spent:,.0f} documents/s in batches of {count},")
    print(f"{1 / single:,.0f} documents/s one at a time")
