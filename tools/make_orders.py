"""Make ``orders.jsonl``: notes about orders, and later questions where some of them go.

    python tools/make_orders.py [OUTPUT]

Each document lists a few orders in the words of different clerks and then asks for the
destination of some, one after another:

    order B7 to Oslo , two lamps . parcel A3 for Lima , paid . ... where to ? A3 Lima .

The order's number is ``key``, its destination ``value``, the number in the question ``query``,
and the first word of the note the role ``opening``, which only the first query names. The words
are made up; no order is real.
"""

import json
import pathlib
import random
import sys

DOCUMENTS = 3000
SEED = 0

NUMBERS = [f"{letter}{digit}" for letter in "AB" for digit in range(1, 9)]
CITIES = (  # noqa: SIM905
    "Accra Bergen Cork Dakar Genoa Havana Izmir Kyoto Lima Malmo Oslo Porto Quito Riga Turin Zadar"
).split()
NOTES = (
    "order {number} to {city} , {count} {goods} .",
    "parcel {number} for {city} , {state} .",
    "number {number} via {city} .",
    "{name} sends {number} to {city} .",
)
COUNTS = ("one", "two", "three", "six", "ten")
GOODS = ("lamps", "clocks", "chairs", "books", "kettles", "maps")
NAMES = ("Ines", "Omar", "Ruth", "Tove", "Yuki")
STATES = ("paid", "unpaid", "fragile", "urgent")
QUESTION = "where to ?"


class Writer:
    """A text under way, which knows where its words stand."""

    def __init__(self):
        self.text = ""

    def word(self, word: str) -> list[int]:
        """Add a word after a space; its span."""
        start = len(self.text) + 1 if self.text else 0
        self.text = f"{self.text} {word}" if self.text else word
        return [start, start + len(word)]

    def note(self, pattern: str, values: dict[str, str]) -> dict[str, list[int]]:
        """Add a sentence; the spans of what was filled in, and of its opening."""
        spans = {}
        for i, word in enumerate(pattern.split()):
            name = word.strip("{}")
            span = self.word(values.get(name, word) if word != name else word)
            spans |= {name: span} if word != name else {}
            spans |= {"opening": span} if i == 0 else {}
        return spans


def make_document(draw: random.Random) -> dict:
    """Three or four orders, and questions about two or three of them."""
    writer = Writer()
    orders = draw.randint(3, 4)
    numbers, cities = draw.sample(NUMBERS, orders), draw.sample(CITIES, orders)
    notes = [
        writer.note(
            draw.choice(NOTES),
            {
                "number": number,
                "city": city,
                "count": draw.choice(COUNTS),
                "goods": draw.choice(GOODS),
                "name": draw.choice(NAMES),
                "state": draw.choice(STATES),
            },
        )
        for number, city in zip(numbers, cities, strict=True)
    ]
    for word in QUESTION.split():
        writer.word(word)
    queries = []
    for asked in draw.sample(range(orders), draw.randint(2, 3)):
        query = {
            "query": writer.word(numbers[asked]),
            "answer": writer.word(cities[asked]),
            "key": notes[asked]["number"],
            "value": notes[asked]["city"],
        }
        if not queries:
            query["roles"] = {"opening": notes[asked]["opening"]}
        queries.append(query)
        writer.word(".")
    return {"text": writer.text, "queries": queries}


def main() -> None:
    """Write the file."""
    default = pathlib.Path(__file__).parents[1] / "docs" / "examples" / "orders.jsonl"
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    draw = random.Random(SEED)
    lines = [json.dumps(make_document(draw), separators=(",", ":")) for _ in range(DOCUMENTS)]
    output.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
