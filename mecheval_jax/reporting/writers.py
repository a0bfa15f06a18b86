"""Rows of metrics on disk."""

import json
import pathlib
from collections.abc import Mapping


class JsonLines:
    """Appends rows to a JSONL file, each flushed, so that a kill loses none."""

    def __init__(self, path: pathlib.Path):
        self._file = path.open("a")

    def write(self, values: Mapping[str, float | int | str]) -> None:
        """Append one row."""
        self._file.write(json.dumps(dict(values)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
