"""Make ``minutes.jsonl``: minutes of meetings, and the question who took which task.

    python -m tools.make_minutes [OUTPUT]

Each document is the minutes of one meeting: who took which task, in the words of several
writers, among what was reported. Then somebody who was not there asks:

    Ines reports on the fair . Omar takes the budget . the website goes to Ruth until Friday .
    ... who has budget Omar . website Ruth .

The task is ``key``, the person ``value``; either may stand first. One person may have several
tasks, and people are named for other reasons, so that the last name, or the commonest one, is
mostly wrong. The minutes are made up; no person is real.
"""

import random
from typing import Any

from tools.annotated_text import RUNS, Writer, write_documents

DOCUMENTS = 3000

TASKS = (  # noqa: SIM905
    "budget website invoices brochure contract roof insurance archive newsletter heating survey "
    "training furniture elections raffle garden"
).split()
PEOPLE = (  # noqa: SIM905
    "Ines Omar Ruth Tove Yuki Bela Chidi Dana Elif Femi Goran Hana"
).split()
TAKEN = (
    "{person} takes the {task} .",
    "the {task} goes to {person} until {day} .",
    "{person} will see to the {task} .",
    "for the {task} the meeting chose {person} .",
    "the {task} : {person} , with {other} to help .",
)
REPORTED = (
    "{other} reports on the {topic} .",
    "{other} and {third} have nothing new on the {topic} .",
    "the {topic} was put off until {day} .",
    "{other} thanks {third} for the {topic} .",
)
WORDS = {
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "topic": ("fair", "visit", "minutes", "prices", "members", "parking", "kitchen", "choir"),
    "other": PEOPLE,
    "third": PEOPLE,
}
QUESTION = "who has"


def make_document(draw: random.Random) -> dict[str, Any]:
    """Four to six tasks among three to six reports, and questions about three of the tasks."""
    writer, taken = Writer(), []
    kinds = [TAKEN] * draw.randint(4, 6) + [REPORTED] * draw.randint(3, 6)
    draw.shuffle(kinds)
    tasks = draw.sample(TASKS, len(TASKS))
    for kind in kinds:
        words = {name: draw.choice(choices) for name, choices in WORDS.items()}
        words |= {"task": tasks[len(taken)], "person": draw.choice(PEOPLE)}
        spans = writer.sentence(draw.choice(kind), words)
        taken += [spans] if kind is TAKEN else []
    writer.sentence(QUESTION, {})
    queries = writer.ask(taken, "task", "person", 3, draw)
    return {"text": writer.text, "queries": queries}


if __name__ == "__main__":
    write_documents(make_document, DOCUMENTS, RUNS / "minutes.jsonl")
