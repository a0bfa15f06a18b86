"""How the tests compile: in the least time, each program once for all of them.

A test's program runs once or twice, so that most of its time would go into optimizing it. What
the compiler is given, and what it makes of it above machine code, stays the same.
"""

import functools
import gc
import os
import pathlib
import threading
import weakref
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
CACHE = ROOT / ".pytest_cache" / "mecheval_jax"
"""Compiled programs, shared by the tests, by what they start, and by the next run of the tests."""

QUICK_XLA = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
"""The older code generator of fusions, less than half the time to compile, and one module for a
program, whose parts would wait for one another on a machine that is busy: a sixth less."""

SHARE = 64
"""Programs whose constants are kept in memory together."""


def settings(xla_flags: str = "") -> dict[str, str]:
    """Environment variables for whoever compiles; `xla_flags` beside those of every test."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    flags += [flag for flag in (*QUICK_XLA, *xla_flags.split()) if flag not in flags]
    return {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE / "compiled"),
        # To keep a program takes as long as to compile a small one, which hardly anybody asks for.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
        # Nobody reads where in the source an operation came from; what is left of it need not be
        # taken out of a copy of each program before that is looked up.
        "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",
        "JAX_COMPILATION_CACHE_INCLUDE_METADATA_IN_KEY": "true",
        "MECHEVAL_JAX_CACHE": str(CACHE),
        "XLA_FLAGS": " ".join(flags),
    }


@functools.cache
def trace_quickly() -> None:
    """Spare this process what Python repeats in every trace.

    A trace is many objects that live as long as its program: to look through them for cycles as
    often as Python does takes a tenth of the tests' time. Another part goes into Flax, which
    traces the initializer of each parameter whenever a model reads it, to compare their shapes.
    Here an initializer is traced once for each shape. And jax loads its dialects of MLIR anew for
    every program, which takes as long as to compile a small one: here `SHARE` programs have them.
    """
    import jax
    import numpy as np
    from flax.core.scope import Scope
    from jax._src.interpreters import mlir

    gc.set_threshold(100_000, 20, 50)
    compare, passed = Scope.param, weakref.WeakKeyDictionary()

    def param(
        self: Scope, name: str, init_fn: Any, *init_args: Any, unbox: bool = True, **options: Any
    ) -> Any:
        value = self.get_variable("params", name)
        if isinstance(value, (np.ndarray, jax.Array)) and not options:
            shapes = passed.setdefault(init_fn, set())
            case = (repr(init_args), value.shape)
            if case in shapes:
                self.reserve(name, "params")
                return value
            compare(self, name, init_fn, *init_args, unbox=unbox)
            shapes.add(case)
            return value
        return compare(self, name, init_fn, *init_args, unbox=unbox, **options)

    Scope.param = param

    make_context, contexts = mlir.make_ir_context, threading.local()

    def ir_context() -> Any:
        if getattr(contexts, "left", 0) == 0:
            contexts.one, contexts.left = make_context(), SHARE
        contexts.left -= 1
        return contexts.one

    mlir.make_ir_context = ir_context
