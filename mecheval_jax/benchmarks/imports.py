"""Time to import the package."""

import subprocess
import sys


def imports() -> None:
    """Import time of the package beyond jax and flax."""

    def best(statement: str) -> float:
        code = f"import time; s = time.perf_counter(); {statement}; print(time.perf_counter() - s)"
        runs = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            for _ in range(3)
        ]
        return min(float(run.stdout) for run in runs)

    base = best("import jax, flax.linen")
    whole = best("import jax, flax.linen; import mecheval_jax.runs")
    print(f"\nimport: jax and flax {base:.2f} s, mecheval_jax.runs {whole - base:.2f} s more")
