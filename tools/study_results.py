"""Put what sweeps of the study found among the documents, and judge all that stands there.

    python -m tools.study_results --sweep=DIR [--sweep=DIR2 ...]

Merges the members that each sweep has finished so far into its table in docs/results, whatever
machine trained them, and says what is still missing. Then all tables there are judged: into
docs/results/findings, docs/results.md and the README. Without --sweep the pages alone are written.
"""

from absl import flags

from tools import blocks

SWEEPS = flags.DEFINE_multi_string("sweep", [], "Folders of sweeps, finished or under way.")
TABLE = flags.DEFINE_string("table", None, "Name of the table; that of the sweep's config file.")

MARKS = "<!-- study: written by tools/study_results.py -->", "<!-- /study -->"


def main():
    """Run the program."""
    from configs.study import config_of
    from mecheval_jax.console import say
    from mecheval_jax.study.collected import FINDINGS_FOLDER, add_sweep, conclude_all
    from mecheval_jax.study.page import brief, summary
    from mecheval_jax.study.plans import experiments_at
    from mecheval_jax.study.timing import Clock

    root = blocks.root()
    tables = root / "docs" / "results"
    for path in SWEEPS.value:
        add_sweep(tables, path, TABLE.value)
    clock = Clock(1, False)
    experiments = [
        one
        for scale in ("laptop", "device")
        for one in experiments_at(scale, False, config_of, clock)
    ]
    found = conclude_all(tables, experiments)
    page = f"results/{FINDINGS_FOLDER}/"
    blocks.put_block(root / "docs" / "results.md", brief(found, page), MARKS)
    said = f"**{summary(found.judgements)}** This is {found.what}."
    blocks.put_block(root / "README.md", [said], MARKS)
    for line in found.not_run:
        say(f"missing: {line}")
    say(f"{summary(found.judgements)} Page: {tables / FINDINGS_FOLDER / 'report.html'}")


if __name__ == "__main__":
    blocks.run(main)
