"""A line of a document file: every mistake by its reason."""

import json
import re

import pytest

from mecheval_jax.tasks.documents.line import BadLine, LineFormat
from mecheval_jax.tasks.documents.tokenizers import Bytes, Ids, Tokens, Whitespace
from tests.support.compilation import ROOT
from tests.support.document_lines import TEXT, ids, line, without

MISTAKES = {
    "json": ("{'text'", r"is no JSON: "),
    "utf8": (b'{"text": "\xff"}', r"is no JSON: "),
    "deep": ("[" * 100_000, r"is no JSON: "),
    "object": ("[1]", "is no JSON object"),
    "no_text": ('{"queries": []}', "has no field 'text'"),
    "ids_instead": (ids(), "has no field 'text'.*'ids'"),
    "text_type": ('{"text": 3}', "'text' that is no string: 3"),
    "surrogate": ('{"text": "a \\ud800"}', "half of a surrogate pair"),
    "blank": ('{"text": "  "}', "'text' without tokens"),
    "no_queries": ('{"text": "a"}', "no list 'queries'"),
    "empty_queries": ('{"text": "a", "queries": []}', "at least one query"),
    "query_type": ('{"text": "a", "queries": [3]}', "query 0: is no JSON object: 3"),
    "missing_query": (without("query"), "query 0: has no field 'query'"),
    "missing_answer": (without("answer"), "query 0: has no field 'answer'"),
    "unknown_field": (line(vlaue=[1, 2]), "'vlaue' .did you mean 'value'"),
    "outside": (line(key=[6, 99]), r"key \[6, 99\] lies outside the text of 33 characters"),
    "negative": (line(value=[-3, 2]), r"value \[-3, 2\] lies outside"),
    "empty": (line(key=[8, 8]), r"key \[8, 8\] is empty"),
    "backwards": (line(key=[8, 6]), r"key \[8, 6\] is empty"),
    "no_span": (line(key=[6]), r"key is no span \[start, stop\]: \[6\]"),
    "not_whole": (line(key=[6.0, 8]), "key is no span"),
    "boolean": (line(key=[True, 8]), "key is no span"),
    "space": (line(key=[8, 9]), r"key \[8, 9\] holds no token: ' '"),
    "cut": (line(key=[7, 8]), r"key \[7, 8\] cuts the token 'B7'"),
    "cut_end": (line(answer=[29, 31]), r"answer \[29, 31\] cuts the token 'Oslo'"),
    "overlap": (line(value=[6, 11]), r"key \[6, 8\] and value \[6, 11\] overlap"),
    "overlap_query": (line(key=[24, 28]), r"query \[26, 28\] and key \[24, 28\] overlap"),
    "after": (line(key=[29, 33]), r"key \[29, 33\] comes after the query"),
    "answer_before": (line(answer=[12, 16]), "does not come after the query.*as a string"),
    "answer_empty": (line(answer=" "), "answer ' ' holds no token"),
    "answer_surrogate": (line(answer="\ud800"), "half of a surrogate pair"),
    "split": (line(answer="Oslo East"), "2 tokens .'Oslo', 'East'.: task.first_answer_token=True"),
    "roles_type": (line(roles=[1]), "roles are no JSON object"),
    "reserved": (line(roles={"next_key": [0, 5]}), "role 'next_key' has a name with a meaning"),
    "a type of ours": (line(roles={"query_type": [0, 5]}), "role 'query_type' has a name with"),
    "a role without a name": (line(roles={"": [0, 5]}), "role '': a name takes printable"),
    "a role of two lines": (line(roles={"a\nb": [0, 5]}), r"role 'a\\nb': a name takes printable"),
    "a role with a comma": (line(roles={"a,b": [0, 5]}), "role 'a,b': a name takes printable"),
    "a role with a space": (line(roles={" key": [0, 5]}), "role ' key': a name takes printable"),
    "a role of half a pair": (line(roles={"\ud800": [0, 5]}), r"role '\\ud800': a name takes"),
    "divider": (
        line(roles={"divider": [29, 33]}),
        r"'divider' \[29, 33\] comes after the query \[26, 28\]: floors read up to it",
    ),
    "role_span": (line(roles={"mine": [0, 500]}), r"role 'mine' \[0, 500\] lies outside"),
    "long": (line(TEXT + " x x"), "has 13 tokens with bos and eos: task.max_length is 11"),
}
OF_IDS = {
    "no_tokens": (line(), "has no field 'tokens'"),
    "tokens_type": ('{"tokens": [1, "a"]}', "no list of whole numbers"),
    "tokens_empty": ('{"tokens": []}', "has no tokens"),
    "negative": (ids(tokens=[5, 6, -7, 8]), "negative token id -7"),
    "outside": (ids(key=4), "key 4 lies outside the document of 4 tokens"),
    "index": (ids(key=[0, 1]), r"key is no index of a token: \[0, 1\]"),
    "answer": (ids(answer="8"), "answer '8' is no token id"),
    "negative_answer": (ids(answer=-1), "answer -1 is no token id"),
    "overlap": (ids(value=0), "key 0 and value 0 overlap"),
    "after": (ids(value=3), "value 3 comes after the query 2"),
}


# Catches a mistake that passes, that ends in a traceback, or whose message does not say it.
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_line(name):
    bad, message = MISTAKES[name]
    bad = bad if isinstance(bad, bytes) else bad.encode()
    with pytest.raises(BadLine, match=message):
        LineFormat(Whitespace(), of_ids=False, max_length=11).read(bad)


@pytest.mark.parametrize("name", OF_IDS)
def test_mistakes_in_a_line_of_ids(name):
    bad, message = OF_IDS[name]
    with pytest.raises(BadLine, match=message):
        LineFormat(Ids(), of_ids=True).read(bad.encode())


# Catches a good line that is refused.
def test_good_lines_are_read():
    assert LineFormat(Whitespace(), of_ids=False, max_length=11).read(line().encode())
    assert LineFormat(Ids(), of_ids=True).read(ids().encode())
    named = line(roles={"Öffnung-2": [0, 5], "divider": [24, 25]})
    assert LineFormat(Whitespace(), of_ids=False).read(named.encode())


# Catches a report that stops at the first mistake of a query.
def test_all_mistakes_of_a_line_are_reported_together():
    bad = line(TEXT + " x x", vlaue=[1, 2], key=[8, 8], value=[0, 99], roles={"bos": [0, 1]})
    with pytest.raises(BadLine) as caught:
        LineFormat(Whitespace(), of_ids=False, max_length=11).read(bad.encode())
    said = ("13 tokens", "'vlaue'", "key .* empty", "value .* outside", "role 'bos'")
    assert len(caught.value.reasons) == len(said)
    for reason, words in zip(caught.value.reasons, said, strict=True):
        assert re.search(words, reason)


# Catches a value whose token the model cannot be right to copy, and a message without a way out.
def test_a_value_that_is_not_the_answer():
    class Spaced(Whitespace):
        """A word has the space before it in its token."""

        def encode(self, text):
            words = list(re.finditer(r" ?\S+", text))
            return Tokens(
                [word.group() for word in words],
                [word.start() for word in words],
                [word.end() for word in words],
            )

    form = LineFormat(Spaced(), of_ids=False, value_is_answer=True)
    with pytest.raises(BadLine, match=r"token is ' Oslo' and the answer's 'Oslo': write.*' Oslo'"):
        form.read(line(answer="Oslo").encode())
    for answer in ([29, 33], " Oslo"):
        assert form.read(line(answer=answer).encode())
    form = LineFormat(Ids(), of_ids=True, value_is_answer=True)
    with pytest.raises(BadLine, match=r"token is '6' and the answer's '8': take task.value_is"):
        form.read(ids().encode())


# Catches an answer of several tokens whose last one is scored.
def test_first_answer_token():
    form = LineFormat(Bytes(), of_ids=False, first_answer_token=True)
    for answer in ([29, 33], "Oslo"):
        (question,) = form.read(line(answer=answer).encode()).questions
        assert question.answer == ord("O")
        assert question.answer_position == (29 if answer != "Oslo" else None)
    with pytest.raises(BadLine, match=r"4 tokens .'O', 's', 'l', 'o'."):
        LineFormat(Bytes(), of_ids=False).read(line().encode())


def test_what_stands_behind_the_value():
    """Catches a token of the question, of the key or of a divider that is called the next key."""
    form = LineFormat(Whitespace(), of_ids=False)
    text = "to B7 Oslo | - for B7 Oslo of B7 at B7"
    #       0  1  2    3 4 5   6  7    8  9  10 11
    for changes, behind in (
        ({"value": [6, 10]}, {"next_key": 3, "value+2": 4}),
        # The question has two tokens or one.
        ({"value": [22, 26], "query": [27, 32]}, {}),
        ({"value": [22, 26], "query": [30, 32]}, {"next_key": 8}),
        ({"value": [22, 26], "query": [30, 32], "key": [0, 5]}, {"next_key": 8}),
        # The key stands behind the value, and has two tokens.
        ({"value": [6, 10], "key": [15, 21]}, {"next_key": 3, "value+2": 4}),
        ({"value": [6, 10], "key": [13, 18]}, {"next_key": 3}),
        # So has what divides the document from the question.
        ({"value": [6, 10], "roles": {"divider": [11, 14]}}, {}),
        ({"value": [6, 10], "roles": {"divider": [13, 18]}}, {"next_key": 3}),
    ):
        query = {"query": [36, 38], "answer": "Oslo", "key": [3, 5]} | changes
        (question,) = form.read(json.dumps({"text": text, "queries": [query]}).encode()).questions
        assert question.behind == behind, changes


def test_the_documented_lines_are_read():
    """Catches a format reference that the reader refuses, or a span in it that is off."""
    text = (ROOT / "docs/documents.md").read_text()
    blocks = re.findall(r"^```json\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    forms = (LineFormat(Whitespace(), of_ids=False), LineFormat(Ids(), of_ids=True))
    for block, form in zip(blocks, forms, strict=True):
        for row in block.splitlines():
            document = form.read(row.encode())
            (question,) = document.questions
            assert document.symbols[question.position] == document.symbols[question.roles["key"]]
            assert document.symbols[question.roles["value"]] == question.answer


# Catches copies that white space alone tells apart in train and in test.
def test_white_space_between_words_is_not_content():
    form = LineFormat(Whitespace(), of_ids=False)
    read = lambda text: form.read(
        json.dumps({"text": text, "queries": [{"query": [0, 1], "answer": "b"}]}).encode()
    )
    plain = read("a b c")
    assert plain.content == b"a b c"
    assert {read(text).content for text in ("a  b c", "a b c\n", "a b\r\nc")} == {plain.content}
    assert read("a b d").content != plain.content
    raw = LineFormat(Bytes(), of_ids=False)
    query = {"text": "ab  c", "queries": [{"query": [0, 1], "answer": "b"}]}
    assert raw.read(json.dumps(query).encode()).content == b"ab  c"
