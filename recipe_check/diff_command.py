"""`recipe-check diff`: what changed between two saved results."""

from __future__ import annotations

from dataclasses import dataclass

from recipe_check.baseline import by_fingerprint, is_new
from recipe_check.results import Result
from recipe_check.run_report import Report
from recipe_check.values import Status


@dataclass(frozen=True)
class Difference:
    """Findings of two reports. `uncounted` are those whose check was not run the second time,
    or is suppressed: nobody knows that they are fixed."""

    new: tuple[Result, ...]
    still: tuple[Result, ...]
    fixed: tuple[Result, ...]
    uncounted: tuple[Result, ...]

    @property
    def exit_code(self) -> int:
        return int(any(result.status is Status.FAIL for result in self.new))


def compare(before: Report, after: Report) -> Difference:
    """Findings matched by fingerprint."""
    old, now = by_fingerprint(before), by_fingerprint(after)
    gone = [result for fingerprint, result in old.items() if fingerprint not in now]
    judged = {r.id for r in after.results if _is_judged(r)}
    return Difference(
        new=tuple(r for r in now.values() if is_new(r, old)),
        still=tuple(r for r in now.values() if not is_new(r, old)),
        fixed=tuple(r for r in gone if r.id in judged),
        uncounted=tuple(r for r in gone if r.id not in judged),
    )


def _is_judged(result: Result) -> bool:
    return result.suppressed is None and result.status not in (Status.SKIP, Status.ERROR)


def lines(found: Difference) -> list[str]:
    """One line a finding, then how many of each."""
    groups = {"new": found.new, "still there": found.still, "fixed": found.fixed,
              "not counted": found.uncounted}  # fmt: skip
    listed = [f"{name:<12} {_line(r)}" for name, results in groups.items() for r in results]
    counted = [f"{len(results)} {name}" for name, results in groups.items()]
    return [*listed, ", ".join(counted if found.uncounted else counted[:3])]


def _line(result: Result) -> str:
    place = f"{result.verdict.location}: " if result.verdict.location else ""
    return f"{result.status.value}[{result.id}] {place}{result.verdict.message}"
