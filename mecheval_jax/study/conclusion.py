"""The conclusion from all results, written down: judgements, claims, figures and pages.

FOLDER/
    findings.csv, findings.json  the 30 findings, each with its verdict and the reason
    claims.csv                   the claims that the findings consist of
    agreement.csv                published accuracies with our own
    results.md, report.html      pages with all of these
    figures/                     the study's figures with both numbers

The same results give the same files, byte for byte.
"""

import pathlib
from collections.abc import Sequence

import pandas as pd

from mecheval_jax.files import write_table, write_text
from mecheval_jax.store.folder import REPORT_FILE
from mecheval_jax.study.agreement import agreement
from mecheval_jax.study.cells import StudyCells, check_distinct
from mecheval_jax.study.coverage import Coverage
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.judgement import claims_table, findings_json, findings_table, judge
from mecheval_jax.study.page import Conclusion, about, html, markdown
from mecheval_jax.study.plans import FINDINGS_FILE


def conclude(
    folder: str | pathlib.Path,
    what: str,
    rows: pd.DataFrame,
    not_run: Sequence[str],
    coverage: Coverage | None = None,
) -> Conclusion:
    """Judge the findings from a table of results, and write all files.

    Args:
        folder: Folder of the files.
        what: Phrase that describes the runs.
        rows: Table of the results.
        not_run: Lines about what was not run, and why.
        coverage: How many members of the study have a row; None if that is not said.

    Raises:
        UserError: If members of one task were trained in different regimes, or a model is there
            twice.
    """
    # Imported here, since matplotlib would make every training start later.
    from mecheval_jax.reporting.figures.saving import picture
    from mecheval_jax.study.figures import study_figures

    check_distinct(rows)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cells = StudyCells(rows)
    judgements, compared = judge(cells, FINDINGS), agreement(cells)
    write_table(folder / "findings.csv", findings_table(judgements))
    write_text(folder / FINDINGS_FILE, findings_json(judgements))
    write_table(folder / "claims.csv", claims_table(judgements), "%.6g")
    write_table(folder / "agreement.csv", compared, "%.6g")
    captions, pictures = {}, []
    for name, caption, figure in study_figures(cells):
        captions[name] = caption
        pictures.append((caption, picture(figure, folder / "figures", name, name, caption)))
    found = Conclusion(about(what, rows), rows, judgements, compared, not_run, captions, coverage)
    write_text(folder / "results.md", markdown(found))
    write_text(folder / REPORT_FILE, html(found, pictures))
    return found
