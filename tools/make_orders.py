"""Make ``orders.jsonl``: notes about orders, and later questions where some of them go.

    python -m tools.make_orders [OUTPUT]

Each document lists a few orders in the words of different clerks and then asks for the
destination of some, one after another:

    order B7 to Oslo , two lamps . parcel A3 for Lima , paid . ... where to ? A3 Lima .

The order's number is ``key``, its destination ``value``, the number in the question ``query``,
and the first word of the note the role ``opening``, which only the first query names. The words
are made up; no order is real.
"""

import random
from typing import Any

from tools.annotated_text import EXAMPLES, Writer, write_documents

DOCUMENTS = 3000

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
WORDS = {
    "count": ("one", "two", "three", "six", "ten"),
    "goods": ("lamps", "clocks", "chairs", "books", "kettles", "maps"),
    "name": ("Ines", "Omar", "Ruth", "Tove", "Yuki"),
    "state": ("paid", "unpaid", "fragile", "urgent"),
}
QUESTION = "where to ?"


def make_document(draw: random.Random) -> dict[str, Any]:
    """Three or four orders, and questions about two or three of them."""
    writer = Writer()
    orders = draw.randint(3, 4)
    numbers, cities = draw.sample(NUMBERS, orders), draw.sample(CITIES, orders)
    notes = []
    for number, city in zip(numbers, cities, strict=True):
        pattern = draw.choice(NOTES)
        words = {name: draw.choice(choices) for name, choices in WORDS.items()}
        notes.append(writer.sentence(pattern, words | {"number": number, "city": city}))
    writer.sentence(QUESTION, {})
    queries = writer.ask(notes, "number", "city", draw.randint(2, 3), draw)
    (opening,) = (n["opening"] for n in notes if n["number"] == queries[0]["key"])
    queries[0]["roles"] = {"opening": opening}
    return {"text": writer.text, "queries": queries}


if __name__ == "__main__":
    write_documents(make_document, DOCUMENTS, EXAMPLES / "orders.jsonl")
