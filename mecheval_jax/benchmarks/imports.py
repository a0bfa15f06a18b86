"""Benchmark of the import of the package."""

import subprocess
import sys


def imports() -> None:
    """Print the import time of the package beyond that of jax and flax."""

    def best(statement: str) -> float:
        """Shortest time of a statement in three new processes, in seconds."""
        code = f"import time; s = time.perf_counter(); {statement}; print(time.perf_counter() - s)"
        runs = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            for _ in range(3)
        ]
        return min(float(run.stdout) for run in runs)

    base = best("import jax, flax.linen")
    whole = best("import jax, flax.linen; import mecheval_jax.runs")
    print(f"\nimport: jax and flax {base:.2f} s, mecheval_jax.runs {whole - base:.2f} s more")
