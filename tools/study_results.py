"""Put what sweeps of the study found among the documents, and judge all that stands there.

    python -m tools.study_results --sweep=DIR [--sweep=DIR2 ...]

Merges the members that each sweep has finished so far into its table in docs/results, whatever
machine trained them, and says what is still missing. Then all tables there are judged: into
docs/results/findings, docs/results.md and the README. Without --sweep the pages alone are written.

Tables of single runs in these pages say in their first line which runs they are of, as
``<!-- runs: task=AR; width=64 -->``; see `mecheval_jax.study.run_table`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from absl import flags

from tools import blocks

if TYPE_CHECKING:
    import pandas as pd

SWEEPS = flags.DEFINE_multi_string("sweep", [], "Folders of sweeps, finished or under way.")
TABLE = flags.DEFINE_string("table", None, "Name of the table; that of the sweep's config file.")

MARKS = "<!-- study: written by tools/study_results.py -->", "<!-- /study -->"
SPREAD = "<!-- spread: written by tools/study_results.py -->", "<!-- /spread -->"
NO_RUN = "*No run of these is in the tables.*"


def main():
    """Run the program."""
    from configs.study import config_of
    from mecheval_jax.console import say
    from mecheval_jax.study.collected import FINDINGS_FOLDER, add_sweep, conclude_all
    from mecheval_jax.study.page import brief, summary
    from mecheval_jax.study.plans import experiments_at
    from mecheval_jax.study.run_table import parse_conditions, spread
    from mecheval_jax.study.timing import Clock

    root = blocks.root()
    readme, results = root / "README.md", root / "docs" / "results.md"
    tables = root / "docs" / "results"
    wanted = {page: blocks.asked(page, "runs", parse_conditions) for page in (readme, results)}
    for path in SWEEPS.value:
        add_sweep(tables, path, TABLE.value)
    # What the pages say is missing is counted by the scale that their numbers stand on.
    experiments = experiments_at("laptop", False, config_of, Clock(1, False))
    found = conclude_all(tables, experiments)
    blocks.put_block(results, brief(found, f"results/{FINDINGS_FOLDER}/"), MARKS)
    blocks.put_block(results, [spread(found.rows)], SPREAD)
    for page, asked in wanted.items():
        for marks, conditions in asked.items():
            blocks.put_block(page, _lines_of_runs(found.rows, conditions), marks)
    said = f"**{summary(found.judgements)}** This is {found.what}."
    blocks.put_block(readme, [said], MARKS)
    for line in found.not_run:
        say(f"missing: {line}")
    if found.coverage:
        say(found.coverage.sentence)
    say(f"{summary(found.judgements)} Page: {tables / FINDINGS_FOLDER / 'report.html'}")


def _lines_of_runs(rows: "pd.DataFrame", conditions: Mapping[str, Sequence[str]]) -> Iterable[str]:
    from mecheval_jax.study.run_table import run_lines

    heads, lines = run_lines(rows, conditions)
    return blocks.table_lines(heads, lines) if lines else ["", NO_RUN, ""]


if __name__ == "__main__":
    blocks.run(main)
