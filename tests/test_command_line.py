"""What a program says to the shell that started it."""

import pytest

from mecheval_jax import command_line
from mecheval_jax.command_line import REQUEUE
from mecheval_jax.errors import Interrupted, UserError
from tests.support import forked


# Catches a scheduler that is told of a failure, or of an end, where it should start again.
@pytest.mark.parametrize(("error", "code"), [(Interrupted("saved"), 75), (UserError("wrong"), 2)])
def test_exit_codes(capsys, error, code):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        command_line._guarded(main, ["program"])
    assert end.value.code == code
    assert str(error) in capsys.readouterr().err


def test_sigterm_before_anything_is_begun():
    """Catches a code that a scheduler takes for a fault, and an exception that Python loses."""
    program = (
        "import gc, os, signal\n"
        "from mecheval_jax import command_line\n"
        "def main():\n"
        "    gc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGTERM))\n"
        "    gc.collect()\n"
        "command_line.run(main)\n"
    )
    done = forked.start(["-c", program])
    assert (done.returncode, done.stderr) == (
        REQUEUE,
        "stopped; the same command resumes\n",
    )


def test_help_lists_the_flags_of_all_programs():
    """Catches a flag that messages advise and that --help does not show."""
    done = forked.start(["-m", "launch.train", "--help"])
    for name in ("workdir", "writers", "[no]allow_code", "coordinator", "hosts_timeout"):
        assert f"  --{name}: " in done.stdout
