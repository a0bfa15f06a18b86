"""Generalisation: accuracy at other sizes than in training."""

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import GeneralizationConfig
from mecheval_jax.evaluation.memory.generalization import generalization_rows
from tests.support import planted_memory


# Catches a setting that is passed over, floors of the trained task beside another's accuracy, and
# sizes that cannot be which end the table.
def test_settings():
    subject = planted_memory.delta_rule(planted_memory.RECALL, 0.999, room=8)
    table = pd.DataFrame(generalization_rows(subject, GeneralizationConfig()))
    assert list(table["setting"].unique()) == ["as trained", "pairs=2", "pairs=8"]
    by_metric = {name: rows.set_index("setting") for name, rows in table.groupby("metric")}
    assert (by_metric["accuracy"]["value"] == 1).all()
    assert dict(by_metric["accuracy"]["length"]) == {"as trained": 13, "pairs=2": 9, "pairs=8": 21}
    floors = by_metric["floor"]["value"]
    assert floors["pairs=2"] > floors["as trained"] > floors["pairs=8"]
    told = GeneralizationConfig(settings=("filler=1+pairs=3",))
    with pytest.raises(UserError, match=r"filler=1, task.pairs=3: 83 tokens, .*trained on 19"):
        next(generalization_rows(subject, told))


# Catches a table of one row that generalises to nothing.
def test_no_other_size():
    subject = planted_memory.lively("gla", planted_memory.RECALL, room=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mecheval_jax.evaluation.memory.generalization.FACTORS", (4,))
        with pytest.raises(UserError, match=r"no other size than pairs=4 can be: .*16 pairs need"):
            next(generalization_rows(subject, GeneralizationConfig()))
