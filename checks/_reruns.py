"""Curves of a script that was run again: the loss of each step, and what it is good for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recipe_check import NotApplicable
from recipe_check.probes.rerun_process import run_again

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.rerun import Hold, Recorded

FEW = 8  # steps without which a curve says nothing
OFTEN = 0.5  # of the steps at which a line must have a loss to belong to the curve
RATE = 1e-3  # of Adam, where the script's own steps do not get far
LONG = 200  # steps of Adam: at that rate a small network needs about a hundred


def losses(seen: Recorded) -> tuple[float, ...]:
    """The loss of each step: the mean of each line's, summed up over the lines that most steps
    have. Raises NotApplicable where there are too few."""
    found: dict[int, dict[str, list[float]]] = {}
    for reading in seen.readings:
        found.setdefault(reading.step, {}).setdefault(reading.line, []).append(reading.value)
    usual = Counter(line for lines in found.values() for line in lines)
    kept = {line for line, count in usual.items() if count >= OFTEN * len(found)}
    curve = tuple(
        sum(_mean(values) for line, values in lines.items() if line in kept)
        for _, lines in sorted(found.items())
        if kept <= set(lines)
    )
    if len(curve) < FEW:
        raise NotApplicable(
            f"the script has made {len(curve)} steps only when it was run again ({seen.ended})"
        )
    return curve


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def take_turns(seen: Recorded) -> bool:
    """Whether optimizers step on different losses in turn, as in a game of two networks."""
    lines: dict[int, set[str]] = {}
    since: set[str] = set()
    for event in seen.events:
        if event.kind == "backward":
            since.add(str(event.place))
        elif event.kind == "step" and since:
            for number in event.held:
                lines.setdefault(number, set()).update(since)
            since = set()
    sets = list(lines.values())
    return any(one.isdisjoint(other) for one in sets for other in sets)


def own_run(lab: Lab, hold: Hold = "") -> Recorded:
    """The script with its own optimizers. Raises NotApplicable where it trains several losses."""
    seen = run_again(lab, hold=hold)
    if take_turns(seen):
        raise NotApplicable("the script trains several losses in turn: none has a level to reach")
    return seen


def fall(curve: Sequence[float]) -> float:
    """Share of the first loss by which the last fifth of the steps is below the first; infinite
    where the loss is not finite."""
    last = curve[-max(len(curve) // 5, 1) :]
    return (curve[0] - _mean(last)) / max(abs(curve[0]), 1e-12)


def is_finite(curve: Sequence[float]) -> bool:
    return all(math.isfinite(value) for value in curve)
