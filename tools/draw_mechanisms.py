"""Draw docs/mechanisms.png: three models of the study's recall task, from its committed table.

    python -m tools.draw_mechanisms

Of each architecture, as the study has it at width 64, the run is drawn that answers dev documents
best.
"""

import pathlib

import pandas as pd

from mecheval_jax.evaluation.config import CORRUPTION, RESTORE
from mecheval_jax.reporting.figures.look import Look, looking
from mecheval_jax.reporting.figures.run_figures import layer_scatter
from mecheval_jax.reporting.figures.saving import save
from mecheval_jax.study.results import ENDS, SITES, column_of
from mecheval_jax.study.tables import read_table

DOCS = pathlib.Path(__file__).parents[1] / "docs"
MIXERS = "attention", "based", "mamba"
WIDTH = 64


def main() -> None:
    """Draw the best run of each architecture."""
    best = best_members(read_table(DOCS / "results" / "ar_laptop.csv"))
    figure, _ = layer_scatter({mixer: _attributions(best.loc[mixer]) for mixer in MIXERS})
    with looking(Look(formats=("png",))):
        save(figure, DOCS, "mechanisms")


def best_members(members: pd.DataFrame) -> pd.DataFrame:
    """The best row of each architecture, by its name, without options of its own."""
    own = members[(members["option"] == "") & (members["width"] == WIDTH)]
    ordered = own.sort_values("dev_accuracy", kind="stable")
    return ordered.drop_duplicates("mixer", keep="last").set_index("mixer")


def _attributions(member: pd.Series) -> pd.DataFrame:
    """The columns ``SITE@ROLE`` of a member as rows of ``interchange.csv``."""
    rows = []
    for site, role in SITES:
        ends = zip(("value", "low", "high"), ENDS, strict=True)
        found = {name: member[column_of(site, role) + end] for name, end in ends}
        rows.append({"site": site, "role": role, "layer": None} | found)
    place = {"metric": "attribution", "corruption": CORRUPTION, "direction": RESTORE}
    return pd.DataFrame(rows).assign(**place)


if __name__ == "__main__":
    main()
