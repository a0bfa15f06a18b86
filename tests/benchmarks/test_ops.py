"""Benchmarks of operations call them as they are."""

from mecheval_jax.benchmarks import ops


# Catches a backend that is no more, and a length that is left out.
def test_convolutions(rows):
    table = rows(ops, ops.convolutions)
    assert len(table) == 6
    assert all(row["fft / toeplitz"] == row["fft"] / row["toeplitz"] for row in table.values())


# Catches an argument of an operation that is no more.
def test_recurrences(rows):
    table = rows(ops, ops.recurrences)
    assert len(table) == 4 * 3
    assert {tuple(row) for row in table.values()} == {("sequential", "associative", "chunked")}
