"""The kernels of the selective scan, interpreted, and lowered for accelerators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops import selective_scan_kernel
from mecheval_jax.ops.selective_scan import selective_scan
from tests.support.twins import scan_arguments


# Catches a hand-written gradient that is right only along some directions: every entry counts;
# and a kernel that mixes up its blocks of channels, or adds the gradients of padded ones.
def test_selective_scan_gradients_agree_entry_by_entry(monkeypatch):
    monkeypatch.setattr(selective_scan_kernel, "BLOCK", 2)  # two blocks, half of one padded

    def gradients(backend):
        loss = lambda *arguments: (selective_scan(*arguments, backend=backend) ** 3).sum()
        return jax.jit(jax.grad(loss, argnums=range(5)))(*map(jnp.asarray, scan_arguments(12)))

    with jax.enable_x64(True):
        derived = gradients("associative")
        for backend in ("sequential", "pallas"):
            for ours, theirs in zip(gradients(backend), derived, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


# Catches a kernel that only the interpreter understands. It is lowered here, not compiled.
@pytest.mark.parametrize(("platform", "name"), [("gpu", "cuda"), ("tpu", "tpu")])
def test_selective_scan_kernel_is_lowered_for_accelerators(monkeypatch, platform, name):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    loss = lambda *arguments: selective_scan(*arguments, backend="pallas").sum()
    arguments = (jnp.asarray(a, jnp.float32) for a in scan_arguments(7))
    program = jax.jit(jax.grad(loss)).trace(*arguments).lower(lowering_platforms=(name,))
    call = {"cuda": "__gpu$xla.gpu.triton", "tpu": "tpu_custom_call"}[name]
    assert program.as_text().count(f"@{call}(") == 2  # forward and backward
