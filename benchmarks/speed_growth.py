"""How the time of the default preset grows with the batch and with the parameters."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

import recipe_check
from benchmarks.speed_models import Setup, mlp, vectors
from benchmarks.speed_timing import exponent, seconds, shown, table

BATCHES = (16, 64, 256, 1024)
WIDTHS = (128, 256, 512, 1024)
SLOWEST = 8  # checks that get a row
Times = dict[str, float]


def setup(batch: int, width: int) -> Setup:
    torch.manual_seed(0)
    model = mlp(256, width, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Setup(model, vectors(batch, 256), nn.CrossEntropyLoss(), optimizer)


def times(made: Setup) -> Times:
    """Seconds of one step, of the whole preset and of each check."""
    made.step()
    step = statistics.median(seconds(made.step, time.perf_counter) for _ in range(5))
    report = recipe_check.run(made.model, made.batches, made.loss, made.optimizer, budget=600)
    checks = {r.id: max(r.cost.seconds, 1e-4) for r in report.results if r.status.value != "skip"}
    return {"one training step": step, "all checks": sum(checks.values())} | checks


def grown(sizes: Sequence[int], make: Callable[[int], Setup]) -> Mapping[int, Times]:
    found = {}
    for size in sizes:
        found[size] = times(make(size))
        print(size, file=sys.stderr)
    return found


def rows(found: Mapping[int, Times], x: Sequence[float]) -> list[tuple[str, ...]]:
    """The step, the whole and the slowest checks of the last size, each with its exponent."""
    sizes = list(found)
    shared = [n for n in found[sizes[-1]] if all(n in found[size] for size in sizes)]
    first, others = shared[:2], sorted(shared[2:], key=lambda n: -found[sizes[-1]][n])
    lines = []
    for name in [*first, *others[:SLOWEST]]:
        values = [found[size][name] for size in sizes]
        lines.append((name, *(shown(v) for v in values), f"{exponent(x, values):.2f}"))
    return lines


def section(batches: Sequence[int] = BATCHES, widths: Sequence[int] = WIDTHS) -> str:
    by_batch = grown(batches, lambda size: setup(size, 256))
    by_width = grown(widths, lambda size: setup(64, size))
    parameters = [setup(1, width).parameters for width in widths]
    return "\n".join([
        "## Growth\n",
        "An MLP of four layers over 256 inputs, default preset, in process. The exponent p is "
        "that of time ~ size^p, fitted to the\nlogarithms; 0.1 ms is the smallest time told apart."
        "\n\nBy batch size (width 256):\n",
        table(("", *(f"B = {b}" for b in batches), "exponent"), rows(by_batch, batches)),
        "By number of parameters (batch 64):\n",
        table(("", *(f"{p:,}" for p in parameters), "exponent"), rows(by_width, parameters)),
    ])  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(section())
