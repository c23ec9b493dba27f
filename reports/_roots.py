"""What to fix first, in the words of the cause that was confirmed and not of its symptom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipe_check.results import Result, Root
from recipe_check.run_report import Report
from recipe_check.values import CauseState, Fix, Status


@dataclass(frozen=True)
class First:
    """A root cause: what is wrong, what that does ('' where `title` says it), what to change."""

    root: Root
    title: str
    effect: str
    fix: Fix | None
    status: Status

    @property
    def place(self) -> str:
        """The line; the check where no line is known."""
        return str(self.root.location or self.root.check)


def firsts(report: Report) -> list[First]:
    """Every root cause of the report, in the order in which to work."""
    by_id = {result.id: result for result in report.results}
    return [_first(root, by_id[root.check]) for root in report.roots if root.check in by_id]


def failing(report: Report) -> list[First]:
    """Those behind failures; all of them where nothing failed."""
    found = firsts(report)
    return [first for first in found if first.status is Status.FAIL] or found


def explained(report: Report, chosen: Sequence[First]) -> str:
    """`explains 3 of 4 findings`."""
    ids = {id for first in chosen for id in first.root.explains}
    count = sum(r.is_finding and r.status is not Status.ERROR for r in report.results)
    verb = "they explain" if len(chosen) > 1 else "it explains"
    return f"{verb} {len(ids)} of {count} finding{'s' * (count != 1)}"


def _first(root: Root, result: Result) -> First:
    own = [
        cause.title
        for cause in result.verdict.causes
        if cause.state is CauseState.MATCHES and cause.check in ("", root.check)
    ]
    title, effect = (own[0], root.title) if own else (root.title, "")
    return First(root, title, effect, result.verdict.fix, result.status)
