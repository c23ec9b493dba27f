"""The whole default preset of the command line, in training steps of the same setup."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed_timing import shown, table
from recipe_check.results import Report, decode

ROOT = Path(__file__).parent.parent
NAMES = ("CNN at 32 px", "transformer encoder", "GPT, 10 M", "ResNet-18 at 64 px")
TARGET = """
from benchmarks.speed_models import make
setup = make({name!r})
model, train_loader, loss_fn, optimizer = setup.model, setup.batches, setup.loss, setup.optimizer
"""
BUDGET = 600  # so that nothing is left out


def run(name: str, *words: str) -> Report:
    """The result of the default preset on one model, through the command line."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "target.py").write_text(TARGET.format(name=name))
        subprocess.run(
            [sys.executable, "-m", "recipe_check", "target.py", "--no-html", "--json", "r.json",
             "--budget", str(BUDGET), "--check-timeout", str(BUDGET), *words],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
            check=False,
        )  # fmt: skip
        return decode((Path(folder) / "r.json").read_text())


def row(name: str, report: Report) -> tuple[str, ...]:
    found = report.run
    ran = [r for r in report.results if r.status.value != "skip"]
    slow = sorted(ran, key=lambda r: -r.cost.seconds)[:3]
    return (
        name,
        f"{report.target.parameters:,}",
        shown(found.step_seconds or 0),
        str(len(ran)),
        shown(sum(r.cost.seconds for r in report.results)),
        f"{found.step_equivalents or 0:,.0f}",
        f"{(found.peak_memory_bytes or 0) / 1e6:,.0f} MB",
        ", ".join(f"{r.id} {shown(r.cost.seconds)}" for r in slow),
        ", ".join(r.id for r in ran if r.status.value in ("fail", "error")) or "–",
    )


def section(names: Sequence[str] = NAMES, *words: str) -> str:
    rows = []
    for name in names:
        rows.append(row(name, run(name, *words)))
        print(name, file=sys.stderr)
    columns = ("model", "parameters", "one step", "checks run", "all checks", "in steps",
               "peak memory", "slowest", "failed")  # fmt: skip
    return "\n".join([
        "## The default preset in training steps\n",
        "Through the command line, on models with a step that is not over in a moment; a step is "
        "the plain one of the same\nsetup with its own batch.\n",
        table(columns, rows),
    ])  # fmt: skip


if __name__ == "__main__":
    print(section())
