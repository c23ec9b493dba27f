"""What counts: severity, root causes, outcome and exit code. Verdicts know nothing of this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from recipe_check.results import Result, Root
from recipe_check.run_report import DeclaredSuppression
from recipe_check.values import CauseState, Status

OUT_OF_TIME = "out of time"  # how the reason of a check begins that the budget left out


@dataclass(frozen=True)
class Decision:
    """The run as a whole: "passed", "failed", "broken" (a check crashed), "stale" (only a
    suppression is at fault), "empty", "budget-exceeded" (nothing was found, and not every check
    had its turn) or "interrupted"."""

    outcome: str
    exit_code: int


def decide(
    results: Sequence[Result], fail_on: str, *, interrupted: bool = False, stale: bool = False
) -> Decision:
    """The exit code as promised: 0 passed, 1 finding, 4 a check broke, 5 nothing ran, 130.

    `stale` says that a suppression is unused or expired, and that this counts.
    """
    counted = [result for result in results if result.suppressed is None]
    statuses = {result.status for result in counted}
    levels = {"error": {Status.FAIL}, "warning": {Status.FAIL, Status.WARN}, "never": set()}
    if interrupted:
        return Decision("interrupted", 130)
    if statuses & levels[fail_on]:
        return Decision("failed", 1)
    if Status.ERROR in statuses:
        return Decision("broken", 4)
    if stale:
        return Decision("stale", 1)
    if all(result.status is Status.SKIP for result in results):
        return Decision("empty", 5)
    if unasked(results):
        return Decision("budget-exceeded", 0)
    return Decision("passed", 0)


def unasked(results: Sequence[Result]) -> tuple[str, ...]:
    """The checks that the budget left no time for."""
    return tuple(
        result.id
        for result in results
        if result.status is Status.SKIP and result.verdict.message.startswith(OUT_OF_TIME)
    )


def budget_note(results: Sequence[Result], budget: float) -> tuple[str, ...]:
    """A remark that names the checks that were not run; () where all were."""
    left = unasked(results)
    if not left:
        return ()
    count = f"{len(left)} check{'s' * (len(left) != 1)} not run"
    return (f"budget-exceeded: {count} within {budget:g} s ({', '.join(left)}); raise --budget",)


def suppressed(
    results: Sequence[Result], declared: Sequence[DeclaredSuppression], today: date
) -> tuple[Result, ...]:
    """Findings that a declared, unexpired suppression names do not count; they keep their
    verdict."""
    valid = {d.check: d.suppression for d in declared if not _expired(d, today)}
    return tuple(
        msgspec.structs.replace(r, suppressed=valid[r.id]) if r.is_finding and r.id in valid else r
        for r in results
    )


def _expired(declared: DeclaredSuppression, today: date) -> bool:
    expires = declared.suppression.expires
    return expires is not None and date.fromisoformat(expires) < today


def stale(
    results: Sequence[Result], declared: Sequence[DeclaredSuppression], today: date
) -> tuple[str, ...]:
    """What is wrong with the suppressions: expired, or unused because the check passed."""
    status = {result.id: result.status for result in results}
    found = []
    for d in declared:
        about = f"the suppression of {d.check} ({d.suppression.reason})"
        if _expired(d, today):
            found.append(f"{about} expired on {d.suppression.expires}")
        elif status.get(d.check) is Status.PASS:
            found.append(f"{about} is unused: the check passed")
    return tuple(found)


_REGRADED = {("warning", Status.FAIL): Status.WARN, ("error", Status.WARN): Status.FAIL}


def regraded(result: Result, severity: str, file: str) -> Result:
    """A failure as a warning, or a warning as a failure, where the configuration says so."""
    status = _REGRADED.get((severity, result.status))
    if status is None:
        return result
    said = f'{result.verdict.message} (severity = "{severity}" in {file})'
    verdict = msgspec.structs.replace(result.verdict, status=status, message=said)
    return msgspec.structs.replace(result, verdict=verdict)


def roots(results: Sequence[Result]) -> tuple[Root, ...]:
    """Findings grouped under what explains them; what explains most comes first.

    A finding is explained by another when a cause that matches names that other check, or when
    both point at the same line and the other comes earlier in the recipe. A finding with two
    explanations stands under both.
    """
    findings = [r for r in results if r.is_finding and r.status is not Status.ERROR]
    by_id = {result.id: result for result in findings}
    parents = {r.id: _parents(r, by_id, findings) for r in findings}
    explained: dict[str, list[str]] = {id: [id] for id, above in parents.items() if not above}
    for id in parents:
        for top in _tops(id, parents):
            if id not in explained.setdefault(top, [top]):
                explained[top].append(id)
    found = [_root(by_id[id], tuple(members)) for id, members in explained.items()]
    return tuple(sorted(found, key=lambda root: _rank(root, by_id)))


def _parents(result: Result, by_id: dict[str, Result], findings: Sequence[Result]) -> list[str]:
    """The findings that explain this one directly."""
    named = [
        cause.check
        for cause in result.verdict.causes
        if cause.state is CauseState.MATCHES and cause.check in by_id and cause.check != result.id
    ]
    place = result.verdict.location
    if place is not None:
        earlier = findings[: findings.index(result)]
        named += [
            other.id
            for other in earlier
            if other.verdict.location is not None
            and (other.verdict.location.file, other.verdict.location.line)
            == (place.file, place.line)
        ]
    return list(dict.fromkeys(named))


def _tops(id: str, parents: dict[str, list[str]]) -> list[str]:
    """The roots above a finding; a circle of explanations is its own root."""
    seen, found, waiting = {id}, [], [id]
    while waiting:
        current = waiting.pop()
        above = [parent for parent in parents[current] if parent not in seen]
        if not above and not parents[current]:
            found.append(current)
        seen.update(above)
        waiting.extend(above)
    return found or [id]


def _root(result: Result, explains: tuple[str, ...]) -> Root:
    fix = result.verdict.fix
    return Root(
        title=result.title,
        check=result.id,
        explains=explains,
        text=fix.text if fix else result.verdict.message,
        location=result.verdict.location,
    )


def _rank(root: Root, by_id: dict[str, Result]) -> tuple[int, int]:
    """Failures before warnings, then the root that explains most."""
    return (by_id[root.check].status is not Status.FAIL, -len(root.explains))
