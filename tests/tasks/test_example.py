"""An example document in words."""

from mecheval_jax.tasks.example import example, shown_roles
from tests.reporting.terminal.test_inspection import TASK, made


def test_a_document_has_its_roles_where_they_are():
    """Catches a role of another query, one that is absent, and a question that is left out."""
    found = example(TASK, made(), 0)
    assert " ".join(found.words) == "<bos> k0 v1 k2 v3 <eos> k2 v3 k0 v1 <eos>"
    assert found.roles == {3: ("key",), 4: ("value",), 6: ("query",), 7: ("answer",)}
    assert found.place("value") == 4
    assert found.place("next_key") is None
    asked = [(one.number, one.position, one.asked, one.answer) for one in found.questions]
    assert asked == [(0, 6, "k2", "v3"), (1, 8, "k0", "v1")]
    assert not {"bos", "divider"} & set(shown_roles(TASK))
