"""How the tests compile: in the least time, each program once for all of them.

A test's program runs once or twice, so that most of its time would go into optimizing it. What
the compiler is given, and what it makes of it above machine code, stays the same.
"""

import os
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
CACHE = ROOT / ".pytest_cache" / "mecheval_jax"
"""Compiled programs, shared by the tests, by what they start, and by the next run of the tests."""

QUICK_XLA = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
"""The older code generator of fusions, less than half the time to compile, and one module for a
program, whose parts would wait for one another on a machine that is busy: a sixth less."""


def settings(xla_flags: str = "") -> dict[str, str]:
    """Environment variables for whoever compiles; `xla_flags` beside those of every test."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    flags += [flag for flag in (*QUICK_XLA, *xla_flags.split()) if flag not in flags]
    return {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "MECHEVAL_JAX_CACHE": str(CACHE),
        "XLA_FLAGS": " ".join(flags),
    }
