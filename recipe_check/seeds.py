"""Verdicts that hang on chance: the same check with further seeds, and what they agree on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from recipe_check.api import Check
from recipe_check.details import Table
from recipe_check.results import Verdict
from recipe_check.values import Status

if TYPE_CHECKING:
    from recipe_check.lab import Lab

SEEDS = 3  # decide a borderline verdict
MOST_SECONDS = 10.0  # of the first run; slower ones are not repeated of their own accord
_SEVERITY = (Status.PASS, Status.WARN, Status.FAIL)


def judge_over_seeds(check: Check, lab: Lab, repeat: int = 1) -> Verdict:
    """The verdict of the lab's own seed; where it is borderline, that of three seeds; with
    `repeat` > 1 that of as many seeds for checks that chance touches, `fail` only when all agree.

    Raises what `measure` raises. Cost: that of the check for each seed.
    """
    start = time.monotonic()
    seen = _measured(check, lab)
    first = check.judge(seen)
    if not check.meta.seeded:
        return first
    if repeat > 1:
        return unanimous(_with_others(check, lab, first, repeat), lab.seed)
    quick = time.monotonic() - start < MOST_SECONDS
    if quick and is_borderline(check, seen):
        return majority(_with_others(check, lab, first, SEEDS), lab.seed)
    return first


def is_borderline(check: Check, seen: Any) -> bool:
    """Whether the check says that its evidence lies near a threshold."""
    near = getattr(check, "borderline", None)
    return bool(near(seen)) if near is not None else False


def _measured(check: Check, lab: Lab) -> Any:
    with lab.seeded():
        return check.measure(lab)


def _with_others(check: Check, lab: Lab, first: Verdict, count: int) -> list[Verdict]:
    others = [lab.sibling(number) for number in range(1, count)]
    return [first, *(check.judge(_measured(check, other)) for other in others)]


def majority(verdicts: Sequence[Verdict], seed: int = 0) -> Verdict:
    """The status that most of them have; the middle one where all differ."""
    counts = Counter(verdict.status for verdict in verdicts)
    status, votes = counts.most_common(1)[0]
    if votes == 1:
        status = sorted(counts, key=_SEVERITY.index)[len(counts) // 2]
    return _spoken(verdicts, status, seed)


def unanimous(verdicts: Sequence[Verdict], seed: int = 0) -> Verdict:
    """`fail` only where all fail, `pass` only where all pass, else `warn`."""
    statuses = {verdict.status for verdict in verdicts}
    status = statuses.pop() if len(statuses) == 1 else Status.WARN
    return _spoken(verdicts, status, seed)


def _spoken(verdicts: Sequence[Verdict], status: Status, seed: int) -> Verdict:
    """The first verdict of that status (else the worst), with the spread over the seeds."""
    worst = max(verdicts, key=lambda verdict: _SEVERITY.index(verdict.status))
    chosen = next((verdict for verdict in verdicts if verdict.status is status), worst)
    tally = ", ".join(verdict.status.value for verdict in verdicts)
    spread = Table(
        title="The same check with other seeds",
        columns=("seed", "verdict", "measured"),
        rows=tuple((seed + i, v.status.value, v.measured) for i, v in enumerate(verdicts)),
    )
    return msgspec.structs.replace(
        chosen,
        status=status,
        message=f"{chosen.message} ({len(verdicts)} seeds: {tally})",
        details=(*chosen.details, spread),
    )
