"""Benchmarks of operations call them as they are."""

from mecheval_jax.benchmarks import ops


# Catches a backend that is no more, and a length that is left out.
def test_convolutions(rows):
    header, *lines = rows(ops, ops.convolutions)[1:]
    assert "FFT / Toeplitz" in header
    assert len(lines) == 6
    assert all(line.split()[2:] == ["2.00", "2.00", "1.00"] for line in lines)


# Catches an argument of an operation that is no more.
def test_recurrences(rows):
    _, *lines = rows(ops, ops.recurrences)[1:]
    assert len(lines) == 4 * 3
    assert all(line.endswith(3 * f"{2:14.2f}") for line in lines)
