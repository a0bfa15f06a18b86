"""Messages to users: the value, what is valid, and what may have been meant."""

import types

import pytest

from mecheval_jax.errors import Interrupted, Stopped, UserError, choose, require_at_least


def test_choose():
    """Catches a hint at something far off, and a message without the valid values."""
    assert choose("mixer", "mamba", ["attention", "mamba"]) == "mamba"
    with pytest.raises(UserError) as caught:
        choose("mixer", "atention", ["mamba", "attention"])
    assert str(caught.value) == (
        "unknown mixer 'atention' (did you mean 'attention'?): valid are mamba, attention"
    )
    with pytest.raises(UserError, match=r"^unknown mixer 'xyz': valid are mamba$"):
        choose("mixer", "xyz", iter(["mamba"]))


def test_require_at_least():
    """Catches a bound that is excluded, and a message that names another field."""
    task = types.SimpleNamespace(pairs=1, queries=0)
    require_at_least(task, "task", ["pairs"], 1)
    with pytest.raises(UserError, match=r"^task\.queries is 0: it must be at least 1$"):
        require_at_least(task, "task", ["pairs", "queries"], 1)


def test_interruptions_are_no_mistakes():
    """Catches a stop that a program would report with the exit code of a mistake."""
    assert issubclass(Stopped, Interrupted)
    assert not issubclass(Interrupted, UserError)
    assert str(Stopped()) == "stopped by SIGTERM; the same command resumes"
