"""Lines of document files, good ones and others, and the files they make."""

import json

import numpy as np

TEXT = "order B7 to Oslo , paid . B7 Oslo"
GOOD = {"query": [26, 28], "answer": [29, 33], "key": [6, 8], "value": [12, 16]}


def line(text=TEXT, **changes):
    return json.dumps({"text": text, "queries": [{**GOOD, **changes}]})


def without(field):
    return json.dumps({"text": TEXT, "queries": [{k: v for k, v in GOOD.items() if k != field}]})


def ids(**changes):
    record = {"tokens": [5, 6, 7, 8], "query": 2, "answer": 8, "key": 0, "value": 1} | changes
    return json.dumps({"tokens": record.pop("tokens"), "queries": [record]})


def write(folder, *lines):
    path = folder / "documents.jsonl"
    path.write_bytes(b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in lines))
    return str(path)


def many(count, words=("Oslo", "Lima", "Rome")):
    """Lines that differ in their first word."""
    for i in range(count):
        city = words[i % len(words)]
        text = f"n{i} B7 {city} . B7"
        at = text.index("B7")
        yield json.dumps(
            {
                "text": text,
                "queries": [
                    {
                        "query": [len(text) - 2, len(text)],
                        "answer": city,
                        "key": [at, at + 2],
                        "value": [at + 3, at + 3 + len(city)],
                    }
                ],
            }
        )


def splits_of(task):
    names = np.array(["train", "dev", "test"])
    return list(names[task._file.splits])
