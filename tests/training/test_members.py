"""Documents of members: each its own, in parts of one width."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.training import host_steps
from mecheval_jax.training.ensemble.strategy import Strategy
from mecheval_jax.training.ensemble.strategy_choice import Choices, choose_strategy
from tests.support import small
from tests.support.ensembles import alone, close, ensemble_of, params_of, programs_of, train


@pytest.mark.parametrize("most_combinations", [0, 100])
def test_documents_that_the_host_draws(tmp_path, monkeypatch, most_combinations):
    """Catches members that get each other's documents, and widths that change a member."""
    monkeypatch.setattr(host_steps, "STEPS_WORTH_PARTS", 20)
    monkeypatch.setattr(host_steps, "MOST_COMBINATIONS", most_combinations)
    task = {"name": "treecall", "terminals": 8, "longest": 30, "seed": 1}
    base = small.experiment(
        small.ONE_LAYER | {"task": task, "model.max_length": 128},
        steps=20,
        steps_per_dispatch=5,
        learning_rate=1e-2,
        batch_size=16,
        evaluation_documents=8,
    )
    runs = [{"data_seed": 0}, {"data_seed": 5, "seed": 1}, {"data_seed": 5, "steps": 10}]
    members, recorder = train(ensemble_of(base, runs), Strategy("vmap", 3))
    for i, changes in enumerate(runs):
        state, rows = alone(base, changes)
        close(params_of(members, i), state.params)
        ours = [(r["step"], r["split"]) for r in recorder.rows if r["member"] == i]
        assert ours == [(r["step"], r["split"]) for r in rows]
    programs = programs_of(ensemble_of(base, runs))
    with pytest.raises(UserError, match="'loop' cannot compute documents that the host draws"):
        choose_strategy(programs, Choices(tmp_path), "key", None, "loop", print)
