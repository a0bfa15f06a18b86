"""Messages to users: the value, what is valid, and what may have been meant."""

import numpy as np
import pytest

from mecheval_jax.errors import (
    Interrupted,
    Stopped,
    UserError,
    choose,
    counted,
    one_line,
    shown,
)


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


def test_capitals_are_no_other_name():
    """Catches a suggestion that fails for a name in capitals, or is not spelled as it is valid."""
    for given in ("Mamba", "MAMBA", "Mambo"):
        with pytest.raises(UserError, match=r"\(did you mean 'mamba'\?\): valid are"):
            choose("mixer", given, ["attention", "mamba"])
    with pytest.raises(UserError, match=r"did you mean 'B'"):
        choose("site", "b", ["B", "C"])


def test_a_value_is_shown_on_one_line():
    """Catches a message that an array, a long text or a number without end tears apart."""
    assert shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
    assert shown("x" * 100, 20) == "'xxxxxxxxxxxxxxx ..."
    assert shown(10**5000) == "a number of more than 4983 digits"
    assert one_line("a\n  b ", 2) == "a "


def test_one_is_no_plural():
    assert (counted(1, "seed"), counted(1200, "run")) == ("1 seed", "1,200 runs")


def test_interruptions_are_no_mistakes():
    """Catches a stop that a program would report with the exit code of a mistake."""
    assert issubclass(Stopped, Interrupted)
    assert not issubclass(Interrupted, UserError)
    assert str(Stopped()) == "stopped; the same command resumes"
