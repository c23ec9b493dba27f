"""Side by side: everything that is compared runs in turn, on one thread.

Within a process CPU time is taken, which on one thread is the time on an idle machine, whatever
else runs there; for commands it is the time on the clock.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest import mock

MOST_SECONDS = 20.0  # no further round is begun after this long


def alternate(
    acts: Mapping[str, Callable[[], object]],
    repeats: int = 3,
    most: float = MOST_SECONDS,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, float]:
    """Median seconds of each, over rounds of all of them; the first round warms up, and counts
    only where there was time for no other."""
    found: dict[str, list[float]] = {name: [] for name in acts}
    start = clock()
    for number in range(repeats + 1):
        for name, act in acts.items():
            found[name].append(seconds(act, clock))
        if clock() - start > (most if number else most / 2):
            break
    return {name: statistics.median(times[1:] or times) for name, times in found.items()}


def seconds(act: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    start = clock()
    act()
    return clock() - start


@contextmanager
def cpu_time() -> Iterator[None]:
    """What takes its own time by the clock in the block takes CPU time."""
    with mock.patch("time.perf_counter", time.process_time):
        yield


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of a line through (log x, log y): the p of y ~ x^p."""
    a, b = [math.log(v) for v in x], [math.log(v) for v in y]
    slope, _ = statistics.linear_regression(a, b)
    return slope


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


def shown(value: float) -> str:
    """`1.2 s`, `3.9 ms`, as the reports write it."""
    from recipe_check.reports._costs import duration

    return duration(value)


def ratio(slow: float, fast: float) -> str:
    """How many times as long: `3.4 x`."""
    return f"{rounded(slow / fast)} x"


def rounded(value: float) -> str:
    """Two significant digits: `0.25`, `34`, `1,300`."""
    return f"{float(f'{value:.2g}'):,.8g}"
