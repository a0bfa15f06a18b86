"""What a terminal shows while work is under way."""

import io

from rich.console import Console

from mecheval_jax.reporting.terminal import live, progress
from mecheval_jax.reporting.terminal.live import SweepView
from tests.support.sweep_standing import standing


def test_a_terminal_has_a_table(monkeypatch):
    """Catches a view that shows nothing where it is looked at."""
    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=True)
    for module in (live, progress):
        monkeypatch.setattr(module, "CONSOLE", console)
    with SweepView("sweep") as view:
        for name in ("g0", "g1"):
            view.update(name, name, standing(step=7, training=3, best_accuracy=0.25, rate=9.5))
    shown = console.file.getvalue()
    for word in ("steps/s", "7/100", "25.0%", "9.5", "total", "7%"):
        assert word in shown
