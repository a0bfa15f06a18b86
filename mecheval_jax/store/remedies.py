"""What to do about damaged files of runs and sweeps, as the end of an error's message."""

import pathlib

from mecheval_jax import programs
from mecheval_jax.store.folder import MEMBER_FILE, MEMBERS, MEMBERS_FILE

NOT_NEEDED = "remove it: a run can be without it"
AS_IT_WAS = "put it back as it was: nothing else has what it says"
WRITTEN_AGAIN = "remove it, and the command of the sweep writes it again"
COSTS_AGAIN = "remove it, and the command that measured it does so again"


def written_by(program: str) -> str:
    """Of a file that a program makes of what else is there."""
    return f"{programs.command(program)} writes it"


def measured_again(run: pathlib.Path) -> str:
    """Of a file that the training of a run wrote, or of a sweep of which it is a member."""
    if not (run / MEMBER_FILE).exists():
        again = "remove it: the command that trained the run measures it again"
        return f"{again}; then {verdict_anew(run)}"
    group = run.absolute().parent
    if group.name != MEMBERS:  # on another split
        return f"remove it, and {programs.command('study')} measures it again"
    return f"remove {group.parent / MEMBERS_FILE}, and the command of the sweep writes both again"


def verdict_anew(run: pathlib.Path) -> str:
    """Of what a verdict rests on."""
    return f"{programs.command('intervene')} --workdir={run} measures a verdict anew"
