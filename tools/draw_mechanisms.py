"""Draw docs/mechanisms.png from the interchange tables of trained runs.

python -m tools.draw_mechanisms NAME=WORKDIR [NAME=WORKDIR ...]
"""

import pathlib
import sys

import pandas as pd

from mecheval_jax.reporting.figures.run_figures import layer_scatter
from mecheval_jax.reporting.figures.saving import save

tables = {}
for argument in sys.argv[1:]:
    name, _, workdir = argument.partition("=")
    tables[name] = pd.read_csv(pathlib.Path(workdir) / "interchange.csv")
figure, _ = layer_scatter(tables)
folder = pathlib.Path(__file__).parents[1] / "docs"
save(figure, folder, "mechanisms")
(folder / "mechanisms.svg").unlink()
