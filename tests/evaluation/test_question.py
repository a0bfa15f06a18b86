"""A question: what is computed of query 0, and that it is what the whole model gives."""

import jax
import numpy as np

from mecheval_jax.evaluation.question import Question, corruption_key
from mecheval_jax.interventions.capture import capture, run
from mecheval_jax.interventions.patch import pin
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.base import SPLITS
from mecheval_jax.tasks.scoring import MEASURES, score
from mecheval_jax.training.data import stream
from tests.support import planted

DOCUMENTS = 4
SITE = "block_0/mixer_input"


def test_a_question_is_the_whole_model_at_its_query():
    """Catches another query's position, an answer of another query, and a patch that is lost."""
    task = planted.task_with(queries=2)
    config, params, _ = planted.lively("attention", layers=1, max_length=task.max_length)
    model, batch = LanguageModel(config), planted.documents(task, DOCUMENTS)

    @jax.jit
    def both(params):
        question = Question(model, params, batch)
        held = pin(capture(model, params, batch.tokens[::-1]), SITE)
        asked = question.run(batch.tokens, held)
        whole = run(model, params, batch, held)
        logits, seen = question.observe(batch.tokens)
        plain = capture(model, params, batch.tokens, "block_0/block_input")
        return asked, whole, question.answers(asked), score(whole, batch), logits, seen, plain

    asked, whole, answers, scores, logits, seen, plain = both(params)
    np.testing.assert_allclose(asked[:, 0], whole[:, 0], rtol=1e-4, atol=1e-5)
    assert np.abs(np.asarray(logits - asked)).max() > 1e-3
    assert set(answers) == set(MEASURES)
    for name in MEASURES:
        np.testing.assert_allclose(answers[name], getattr(scores, name)[:, 0], rtol=1e-3, atol=1e-5)
    assert seen["block_0/block_output"].shape[1] == 1
    before = "block_0/block_input"
    np.testing.assert_allclose(seen[before], plain[before], rtol=1e-5, atol=1e-6)


def test_corruptions_have_random_keys_of_their_own():
    """Catches replaced tokens that are drawn by the key of training documents: with seeds of 0 the
    first corruption had that of the stream of all training documents."""
    number = lambda key: tuple(np.asarray(jax.random.key_data(key)).tolist())
    own = {number(corruption_key(seed, i)) for seed in range(3) for i in range(3)}
    assert len(own) == 9
    for seed in range(3):
        root = jax.random.key(seed)
        streams = [stream(root, split) for split in SPLITS]
        steps = [jax.random.fold_in(one, step) for one in streams for step in range(5)]
        assert not own & {number(key) for key in (root, *streams, *steps)}
