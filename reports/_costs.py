"""What a run cost: seconds, training steps of the same setup, memory; the slowest checks."""

from __future__ import annotations

from collections.abc import Sequence

from recipe_check.results import Cost, Result
from recipe_check.run_report import Run

from ._text import number, one_line

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def cost_words(run: Run) -> str:
    """`1.2 s = 310 training steps of 3.9 ms, 412 MB at most`; '' where nothing was measured."""
    parts = []
    if run.step_seconds and run.step_equivalents is not None:
        spent, count = duration(run.step_equivalents * run.step_seconds), run.step_equivalents
        shown = number(round(count) if count >= 10 else count)
        parts.append(f"{spent} = {shown} training steps of {duration(run.step_seconds)}")
    if run.peak_memory_bytes:
        parts.append(f"{run.peak_memory_bytes / 1e6:,.0f} MB at most")
    return ", ".join(parts)


def slowest(results: Sequence[Result], count: int) -> str:
    """A line for each of the slowest checks: seconds, name, passes and steps."""
    ran = [result for result in results if result.cost.seconds]
    chosen = sorted(ran, key=lambda result: -result.cost.seconds)[:count]
    lines = [
        f"  {result.cost.seconds:7.2f} s  {one_line(result.id):<28} {passes(result.cost)}".rstrip()
        for result in chosen
    ]
    return "\n".join([f"slowest {len(lines)} of {len(ran)} checks:", *lines])


def passes(cost: Cost) -> str:
    """`63 forward, 60 backward, 60 steps`."""
    named = ((cost.forward, "forward"), (cost.backward, "backward"), (cost.steps, "steps"))
    return ", ".join(f"{count} {name}" for count, name in named if count)


def duration(value: float) -> str:
    """Three significant digits in the unit that fits: `1.2 s`, `3.9 ms`, `84 µs`."""
    size, unit = next(((s, u) for s, u in _UNITS if value >= s), _UNITS[-1])
    shown = value / size
    return f"{shown:.0f} {unit}" if shown >= 100 else f"{shown:.2g} {unit}"
