"""Put what sweeps of the study found among the documents, and judge all that stands there.

    python -m tools.study_results --sweep=DIR [--sweep=DIR2 ...]

Writes into docs/results, for each sweep, NAME.csv (a row a member, with its hash in SHA256SUMS)
and NAME.json (its members, byte for byte as the sweep has them), NAME being the folder's own; then,
from all tables there, findings.json and study.md. Without --sweep the pages alone are written anew.
"""

import pathlib

from absl import flags

from mecheval_jax import command_line

SWEEPS = flags.DEFINE_multi_string("sweep", [], "Folders of sweeps, finished or under way.")
OUTPUT = flags.DEFINE_string("output", "docs/results", "Folder of tables and pages.")


def main():
    """Run the program."""
    from mecheval_jax.files import write_bytes, write_text
    from mecheval_jax.store.sweep_folder import SweepFolder
    from mecheval_jax.study.agreement import agreement
    from mecheval_jax.study.cells import Cells
    from mecheval_jax.study.findings.every import FINDINGS
    from mecheval_jax.study.judgement import findings_json, judge
    from mecheval_jax.study.page import about, results_page
    from mecheval_jax.study.results import read_tables, tabulate, write_table

    output = pathlib.Path(OUTPUT.value)
    for path in SWEEPS.value:
        name = pathlib.Path(path).absolute().name
        write_table(output / f"{name}.csv", tabulate(path))
        write_bytes(output / f"{name}.json", SweepFolder(path).sweep.read_bytes())
    output.mkdir(parents=True, exist_ok=True)
    rows = read_tables(sorted(output.glob("*.csv")))
    cells = Cells(rows)
    judgements = judge(cells, FINDINGS)
    write_text(output / "findings.json", findings_json(judgements))
    page = results_page(
        about("the tables beside this page", rows), judgements, agreement(cells), []
    )
    write_text(output / "study.md", page)


if __name__ == "__main__":
    command_line.run(main)
