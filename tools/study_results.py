"""Put what sweeps of the study found among the documents, and judge all that stands there.

    python -m tools.study_results --sweep=DIR [--sweep=DIR2 ...]

Merges the members that each sweep has finished so far into its table in docs/results, whatever
machine trained them, and says what is still missing. Then all tables there are judged: into
docs/results/findings, docs/results.md and the README. Without --sweep the pages alone are written.
"""

import importlib
import itertools
from types import ModuleType

from absl import flags

from tools import blocks

SWEEPS = flags.DEFINE_multi_string("sweep", [], "Folders of sweeps, finished or under way.")
TABLE = flags.DEFINE_string("table", None, "Name of the table; that of the sweep's config file.")

MARKS = "<!-- study: written by tools/study_results.py -->", "<!-- /study -->"


def main():
    """Run the program."""
    from mecheval_jax.console import say
    from mecheval_jax.study.collected import FINDINGS_FOLDER, add_sweep, conclude_all
    from mecheval_jax.study.experiments import SCALES
    from mecheval_jax.study.page import brief, summary
    from mecheval_jax.study.plans import experiments_at
    from mecheval_jax.study.timing import Clock

    def config(name: str) -> ModuleType:
        return importlib.import_module(f"configs.study.{name}")

    root = blocks.root()
    tables = root / "docs" / "results"
    for path in SWEEPS.value:
        add_sweep(tables, path, TABLE.value)
    scales = (experiments_at(name, False, config, Clock(1, False)) for name in SCALES[:2])
    found = conclude_all(tables, itertools.chain.from_iterable(scales))
    page = f"results/{FINDINGS_FOLDER}/"
    blocks.put_block(root / "docs" / "results.md", brief(found, page), MARKS)
    said = f"**{summary(found.judgements)}** This is {found.what}."
    blocks.put_block(root / "README.md", [said], MARKS)
    for line in found.not_run:
        say(f"missing: {line}")
    say(f"{summary(found.judgements)} Page: {tables / FINDINGS_FOLDER / 'report.html'}")


if __name__ == "__main__":
    blocks.run(main)
