"""What stands at the tokens of a drawn document is theirs."""

import pandas as pd

from mecheval_jax.reporting.html.drawn_document import (
    NEAR,
    WHOLE,
    Value,
    drawn,
    fits,
    read_lines,
    restored_lines,
)
from mecheval_jax.tasks.example import Example, ExampleQuestion
from tests.support.reported_runs import table_of

DOCUMENT = Example(
    tuple(f"t{i}" for i in range(8)),
    {2: ("key",), 3: ("value",), 6: ("query",)},
    (ExampleQuestion(0, 6, "t6", "t3"),),
)


def test_values_stand_at_the_tokens_of_their_roles():
    """Catches a number at another token, a layer for another, and a cell that has no number."""
    lines = restored_lines(DOCUMENT, table_of())
    assert list(lines) == ["layer 1 input", "layer 1 output"]
    assert {at: value.text for at, value in lines["layer 1 input"].items()} == {
        2: "-0.13",
        3: "0.93",
        6: "0.02",
    }
    assert {at: value.text for at, value in lines["layer 1 output"].items()} == {
        2: "0.03",
        6: "1.37",
    }
    assert lines["layer 1 input"][3].note == "layer 1 input, at the value: 0.93 [0.88, 0.98]"
    found = drawn(DOCUMENT, lines)
    assert found.lines == ("layer 1 input", "layer 1 output")
    assert [value.text for value in found.tokens[3].values] == ["0.93", ""]
    assert found.tokens[3].roles == ("value",)


def test_of_a_long_document_what_lies_near_its_roles_is_shown():
    """Catches a role that is cut out, and a number of left-out tokens that is not theirs."""
    words = tuple(map(str, range(WHOLE + 200)))
    long = Example(words, {100: ("key",), 103: ("value",), 240: ("query",)}, ())
    tokens = drawn(long, {"line": {103: Value("x")}}).tokens
    shown = [int(token.word) for token in tokens if not token.left_out]
    assert shown == [*range(NEAR + 1), *range(97, 107), *range(237, 244)]
    assert sum(token.left_out or 1 for token in tokens) == len(words)
    assert [token.values[0].text for token in tokens if token.word == "103"] == ["x"]


def test_what_the_query_reads():
    """Catches a row of another token, and a document that is not the one that was read."""
    rows = [
        {"matrix": f"layer {layer}", "destination": i, "source": j, "source_token": f"t{j}"}
        | {"value": 0.8 if (i, j) == (6, 3 + layer) else 0.01}
        for layer in range(2)
        for i in range(8)
        for j in range(i + 1)
    ]
    table = pd.DataFrame(rows)
    assert fits(DOCUMENT, table)
    assert not fits(Example(("other", *DOCUMENT.words[1:]), {}, ()), table)
    assert not fits(Example((*DOCUMENT.words, "more"), {}, ()), table)
    lines = read_lines(DOCUMENT, table)
    assert [line[3 + layer].text for layer, line in enumerate(lines.values())] == ["0.80", "0.80"]
    assert lines["layer 0"][4].text == ""
    assert 7 not in lines["layer 0"]
    assert lines["layer 1"][4].note == "layer 1: reads t4 with 0.800"
