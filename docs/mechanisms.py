"""Draw docs/mechanisms.png from the interchange tables of trained runs.

python docs/mechanisms.py NAME=WORKDIR [NAME=WORKDIR ...]
"""

import pathlib
import sys

import pandas as pd

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from mecheval_jax.reporting.figures.drawing import save
from mecheval_jax.reporting.figures.run_figures import layer_scatter

tables = {}
for argument in sys.argv[1:]:
    name, _, workdir = argument.partition("=")
    tables[name] = pd.read_csv(pathlib.Path(workdir) / "interchange.csv")
figure, _ = layer_scatter(tables)
folder = pathlib.Path(__file__).parent
save(figure, folder, "mechanisms")
(folder / "mechanisms.svg").unlink()
