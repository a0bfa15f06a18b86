"""The LSTM: its equation, token by token."""

import numpy as np

from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    WIDTH,
    assert_gives,
    dense,
    in_float64,
    sigmoid,
)


# Catches gates in another order than i, f, g, o, a cell that is not squashed before it is read, and
# an output in the place of the cell.
def test_against_its_twin():
    _, params, x = in_float64("lstm")
    c = h = np.zeros((BATCH, WIDTH))
    outputs = []
    for t in range(LENGTH):
        gates = dense(x[:, t], params["in_proj"]) + h @ params["recurrent"]
        i, f, g, o = np.split(gates, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    assert_gives("lstm", np.stack(outputs, axis=1))
