"""Start-up, the presets and the report of the digits example, and memory against one step.

Nothing here imports torch: a process's peak memory begins with that of its parent.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed_timing import alternate, ratio, shown, table
from recipe_check.run_report import decode

DIGITS = Path(__file__).parent.parent / "examples" / "digits_cnn.py"
COMMAND = (sys.executable, "-m", "recipe_check")
STEP = f"""
import resource, runpy, sys
found = runpy.run_path({str(DIGITS)!r})
x, y = next(iter(found["train_loader"]))
found["loss_fn"](found["model"](x), y).backward()
found["optimizer"].step()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak if sys.platform == "darwin" else 1024 * peak)
"""


def call(*words: str) -> str:
    """What a command prints; raises CalledProcessError where it fails."""
    ours = os.pathsep.join([str(DIGITS.parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": ours.rstrip(os.pathsep)}
    return subprocess.run(
        words, capture_output=True, text=True, check=True, cwd=Path(tempfile.gettempdir()),
        env=environment,
    ).stdout  # fmt: skip


def section(repeats: int = 5) -> str:
    with tempfile.TemporaryDirectory() as folder:
        result, html = f"{folder}/r.json", f"{folder}/r.html"
        run = (*COMMAND, str(DIGITS), "--no-html")
        call(*run, "--json", result)
        times = alternate({
            "`python -c pass`": lambda: call(sys.executable, "-c", "pass"),
            "`import recipe_check.cli`": lambda: call(sys.executable, "-c",
                                                      "import recipe_check.cli"),
            "`recipe-check --help`": lambda: call(*COMMAND, "--help"),
            "`recipe-check list`": lambda: call(*COMMAND, "list"),
            "`import torch`": lambda: call(sys.executable, "-c", "import torch"),
            "digits, nothing but loading (`recipe-check show`)": lambda: call(
                *COMMAND, "show", str(DIGITS)),
            "digits, `--preset quick --no-html`": lambda: call(*run, "--preset", "quick"),
            "digits, default preset, `--no-html`": lambda: call(*run),
            "digits, default preset with the HTML report": lambda: call(
                *COMMAND, str(DIGITS), "--html", html),
            "the HTML report alone (`recipe-check report`)": lambda: call(
                *COMMAND, "report", result, "--html", html),
        }, repeats, 60, time.perf_counter)  # fmt: skip
        peak = decode(Path(result).read_text()).run.peak_memory_bytes or 0
    step = int(call(sys.executable, "-c", STEP))
    start = times["`python -c pass`"]
    rows = [(name, shown(value), ratio(value, start)) for name, value in times.items()]
    return "\n".join([
        "## Start-up and the digits example\n",
        "Each a new process, from start to end.\n",
        table(("command", "time", "to `python -c pass`"), rows),
        f"Peak memory of the worker on the digits example, default preset: {peak / 1e6:.0f} MB, "
        f"{ratio(peak, step)} the {step / 1e6:.0f} MB of one\nprocess that takes one training "
        "step.",
    ])  # fmt: skip


if __name__ == "__main__":
    print(section())
