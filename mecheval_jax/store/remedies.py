"""What to do about damaged files of runs and sweeps, as the end of an error's message."""

import pathlib

from mecheval_jax import programs

NOT_NEEDED = "remove it: a run can be without it"
AS_IT_WAS = "put it back as it was: nothing else has what it says"
WRITTEN_AGAIN = "remove it, and the command of the sweep writes it again"


def measured_again(run: pathlib.Path) -> str:
    """Of a file that the training of a run wrote, or of a sweep of which it is a member."""
    if (run / "member.json").exists() and run.absolute().parent.name != "members":
        return f"remove it, and {programs.command('study')} measures it again"  # on another split
    if (run / "member.json").exists():
        table = run.parent.parent / "members.csv"
        return f"remove {table}, and the command of the sweep writes both again"
    again = "remove it: the command that trained the run measures it again"
    return f"{again}; then {verdict_anew(run)}"


def verdict_anew(run: pathlib.Path) -> str:
    """Of what a verdict rests on."""
    return f"{programs.command('intervene')} --workdir={run} measures a verdict anew"
