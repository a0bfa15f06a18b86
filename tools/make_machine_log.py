"""Make ``machine_log.jsonl``: the log of a shift, and later questions about single lines of it.

    python -m tools.make_machine_log [OUTPUT]

Each document is a log of 1,000 to 4,000 characters. Most lines are routine; some report a fault
with its number and a code. At the end of the shift somebody asks for the codes of three faults:

    2026-03-14T09:15:00Z plant/line-2/press-3 fault F23 stopped the feed with code E41 ; ...
    handover : which code had F23 E41 .

The number of the fault is ``key``, its code ``value``. Lines of the same kind stand around every
line that is asked, codes of faults that are over are named again, and numbers and codes have no
rule in common. All of it is made up; no machine is real.
"""

import random
from typing import Any

from tools.annotated_text import RUNS, Writer, write_documents

DOCUMENTS = 3000
CHARACTERS = 1000, 4000

FAULTS = [f"F{number}" for number in range(10, 42)]
CODES = [f"E{number}" for number in range(10, 34)]
REPORTS = (
    "{time} {machine} fault {fault} stopped the {part} with code {code} ;",
    "{time} {machine} warning {fault} at the {part} , code {code} ;",
    "{time} {machine} {fault} raised by the {part} : {code} ;",
    "{time} {machine} code {code} logged for {fault} , {person} informed ;",
)
ROUTINE = (
    "{time} {machine} temperature of the {part} within limits , checked by {person} ;",
    "{time} {machine} cycle-finished {count} parts , {part} cleaned ;",
    "{time} {machine} operator-change to {person} ;",
    "{time} {machine} restarted after code {cleared} was cleared ;",
)
WORDS = {
    "machine": [f"plant/line-{line}/press-{press}" for line in (1, 2) for press in (1, 2, 3, 4)],
    "part": ("feed", "clamp", "spindle", "coolant", "conveyor", "gripper"),
    "person": ("I.Moreau", "O.Haddad", "R.Lindqvist", "T.Nakata"),
    "count": ("120", "240", "360", "480"),
    "cleared": CODES,
}
LINES_A_FAULT = 3
QUESTION = "handover : which code had"
ASKED = 3


def make_document(draw: random.Random) -> dict[str, Any]:
    """A log of some length, a third of whose lines report faults, and three questions."""
    writer, wanted, reports = Writer(), draw.randint(CHARACTERS[0], CHARACTERS[1] - 200), []
    faults, minute = draw.sample(FAULTS, len(FAULTS)), 6 * 60
    while len(writer.text) < wanted or len(reports) < ASKED:
        is_fault = draw.randrange(LINES_A_FAULT) == 0 and len(reports) < len(faults)
        minute += 5
        words = {name: draw.choice(choices) for name, choices in WORDS.items()}
        words |= {"time": f"2026-03-14T{minute // 60:02d}:{minute % 60:02d}:00Z"}
        words |= {"fault": faults[len(reports) % len(faults)], "code": draw.choice(CODES)}
        spans = writer.sentence(draw.choice(REPORTS if is_fault else ROUTINE), words)
        reports += [spans] if is_fault else []
    writer.sentence(QUESTION, {})
    queries = writer.ask(reports, "fault", "code", ASKED, draw)
    return {"text": writer.text, "queries": queries}


if __name__ == "__main__":
    write_documents(make_document, DOCUMENTS, RUNS / "machine_log.jsonl")
