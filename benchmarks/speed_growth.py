"""How the time of the default preset grows with the batch and with the parameters."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import nn

import recipe_check
from benchmarks.speed_models import Setup, mlp, vectors
from benchmarks.speed_timing import cpu_time, exponent, seconds, shown, table

BATCHES = (16, 64, 256, 1024)
WIDTHS = (128, 256, 512, 1024)
STEPS = 9
SLOWEST = 8  # checks that get a row
DRAWN = 5  # rows of a table that are drawn
PICTURE = Path(__file__).parent / "growth.svg"
Times = dict[str, float]


def setup(batch: int, width: int) -> Setup:
    torch.manual_seed(0)
    model = mlp(256, width, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Setup(model, vectors(batch, 256), nn.CrossEntropyLoss(), optimizer)


def times(made: Setup) -> Times:
    """Seconds of one step, of the whole preset and of each check."""
    made.step()
    step = statistics.median(seconds(made.step) for _ in range(STEPS))
    with cpu_time():
        report = recipe_check.run(made.model, made.batches, made.loss, made.optimizer, budget=600)
    checks = {r.id: max(r.cost.seconds, 1e-4) for r in report.results if r.status.value != "skip"}
    return {"one training step": step, "all checks": sum(checks.values())} | checks


def grown(sizes: Sequence[int], make: Callable[[int], Setup]) -> Mapping[int, Times]:
    found = {}
    for size in sizes:
        found[size] = times(make(size))
        print(size, file=sys.stderr)
    return found


def named(found: Mapping[int, Times], slowest: int) -> list[str]:
    """The step, the whole and the slowest checks of the last size that all sizes have."""
    last = found[max(found)]
    shared = [name for name in last if all(name in times for times in found.values())]
    return shared[:2] + sorted(shared[2:], key=lambda name: -last[name])[:slowest]


def rows(found: Mapping[int, Times], x: Sequence[float]) -> list[tuple[str, ...]]:
    """A row for each name, with its exponent."""
    lines = []
    for name in named(found, SLOWEST):
        values = [times[name] for times in found.values()]
        lines.append((name, *(shown(v) for v in values), f"{exponent(x, values):.2f}"))
    return lines


def drawn(panels: Mapping[str, tuple[Mapping[int, Times], Sequence[float]]], file: Path) -> None:
    """Times against sizes on logarithmic axes, with the exponents in the legends."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes: Any = figure.subplots(1, len(panels), sharey=True)
    for panel, (title, (found, x)) in zip(axes, panels.items(), strict=True):
        for name in named(found, DRAWN - 2):
            values = [times[name] for times in found.values()]
            panel.loglog(x, values, "o-", label=f"{name}: p = {exponent(x, values):.2f}")
        panel.set(xlabel=title)
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    axes[0].set_ylabel("seconds of CPU time")
    figure.savefig(file, metadata={"Date": None, "Creator": None})


def section(
    batches: Sequence[int] = BATCHES, widths: Sequence[int] = WIDTHS, picture: Path | None = None
) -> str:
    by_batch = grown(batches, lambda size: setup(size, 256))
    by_width = grown(widths, lambda size: setup(64, size))
    parameters = [setup(1, width).parameters for width in widths]
    panels = {"samples in a batch": (by_batch, batches), "parameters": (by_width, parameters)}
    if picture is not None:
        drawn(panels, picture)
    return "\n".join([
        "## Growth\n",
        "An MLP of four layers over 256 inputs, default preset, in process. The exponent p is "
        "that of time ~ size^p, fitted to the\nlogarithms; 0.1 ms is the smallest time told apart."
        f"\n\n![Time against batch size and parameters]({PICTURE.name})\n"
        "\nBy batch size (width 256):\n",
        table(("", *(f"B = {b}" for b in batches), "exponent"), rows(by_batch, batches)),
        "By number of parameters (batch 64):\n",
        table(("", *(f"{p:,}" for p in parameters), "exponent"), rows(by_width, parameters)),
    ])  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PICTURE.name}")
    print(section(picture=PICTURE if parser.parse_args().write else None))
