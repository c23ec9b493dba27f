"""The whole default preset of the command line, in training steps of the same setup."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed_timing import ratio, shown, table
from recipe_check.preset_costs import in_steps
from recipe_check.run_report import Report, decode

ROOT = Path(__file__).parent.parent
NAMES = ("CNN at 32 px", "transformer encoder", "GPT, 10 M", "ResNet-18 at 64 px")
TARGET = """
from benchmarks.speed_models import make
setup = make({name!r})
model, train_loader, loss_fn, optimizer = setup.model, setup.batches, setup.loss, setup.optimizer
"""
STEP = """
import resource, sys
from benchmarks.speed_models import make
setup = make({name!r})
setup.step()
setup.step()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak if sys.platform == "darwin" else 1024 * peak)
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


def peak_of_a_step(name: str) -> int:
    """Bytes at most of a process that makes the same setup and takes two plain steps."""
    return int(subprocess.run(
        [sys.executable, "-c", STEP.format(name=name)], cwd=ROOT, capture_output=True, text=True,
        check=True,
    ).stdout)  # fmt: skip


def row(name: str, report: Report, plain: int) -> tuple[str, ...]:
    found = report.run
    passes = sum(in_steps(r.cost) for r in report.results)
    ran = [r for r in report.results if r.status.value != "skip"]
    slow = sorted(ran, key=lambda r: -r.cost.seconds)[:3]
    return (
        name,
        f"{report.target.parameters:,}",
        shown(found.step_seconds or 0),
        str(len(ran)),
        shown(sum(r.cost.seconds for r in report.results)),
        f"{found.step_equivalents or 0:,.0f}",
        f"{passes:,.0f}",
        f"{(found.peak_memory_bytes or 0) / 1e6:,.0f} MB",
        ratio(found.peak_memory_bytes or 0, plain),
        ", ".join(f"{r.id} {shown(r.cost.seconds)}" for r in slow),
        ", ".join(r.id for r in ran if r.status.value in ("fail", "error")) or "–",
    )


def section(names: Sequence[str] = NAMES, *words: str) -> str:
    rows = []
    for name in names:
        rows.append(row(name, run(name, *words), peak_of_a_step(name)))
        print(name, file=sys.stderr)
    columns = ("model", "parameters", "one step", "checks run", "all checks", "in steps",
               "passes", "peak memory", "to a step", "slowest", "failed")  # fmt: skip
    return "\n".join([
        "## The default preset in training steps\n",
        "Through the command line, on models with a step that is not over in a moment; a step is "
        "the plain one of the same\nsetup with its own batch. \"passes\" counts them as steps, a "
        "forward pass as a third, those over a part of a\nbatch as whole ones: what is above that "
        "is our own. \"to a step\": peak memory beside that of a process which takes\nplain "
        "steps.\n",
        table(columns, rows),
    ])  # fmt: skip


if __name__ == "__main__":
    print(section())
