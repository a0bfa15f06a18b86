"""What cannot be read is noted, and nothing else is lost."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.store.left_out import LeftOut


def test_damage_is_noted_and_bugs_are_not_hidden(capsys):
    """Catches a reason that is lost or told twice, and a bug that is taken for damage."""

    def damaged():
        raise UserError("a is damaged")

    left_out = LeftOut()
    assert left_out.part("one", lambda: 1, 0) == 1
    assert left_out == {}
    assert left_out.part("two", damaged, 0) == left_out.part("two", damaged, 0) == 0
    left_out.note("two", "b is gone")
    assert left_out == {"two": "a is damaged; b is gone"}
    assert capsys.readouterr().err.count("left out: two: a is damaged") == 1
    left_out.note("runs/a", "runs/a holds no run")  # not told twice
    assert capsys.readouterr().err == "left out: runs/a holds no run\n"
    left_out.note("a", "answers.npz is damaged")  # a word that begins alike is no name
    assert capsys.readouterr().err == "left out: a: answers.npz is damaged\n"
    LeftOut(aloud=False).note("two", "b is gone")
    assert capsys.readouterr().err == ""
    with pytest.raises(ZeroDivisionError):
        left_out.part("three", lambda: 1 // 0, 0)
