"""What one check found: its verdict, its cost, and what it explains."""

from __future__ import annotations

from collections.abc import Mapping

from recipe_check.details import Detail
from recipe_check.values import Cause, Fix, Location, Status, Value


class Verdict(Value, frozen=True, kw_only=True):
    """What `judge` returns: the status, and everything a reader needs to believe it."""

    status: Status
    message: str
    measured: str = ""
    expected: str = ""
    causes: tuple[Cause, ...] = ()
    fix: Fix | None = None
    location: Location | None = None
    values: Mapping[str, float] = {}
    details: tuple[Detail, ...] = ()


class Suppression(Value, frozen=True, kw_only=True):
    """Why a finding does not count, and until when (ISO date, or None for permanent).

    `baseline` is the file of a finding that was there before, '' for a declared suppression.
    """

    reason: str
    expires: str | None = None
    baseline: str = ""


class Cost(Value, frozen=True, kw_only=True):
    """What a check spent. Passes are counted on the user's model; memory in bytes."""

    forward: int = 0
    backward: int = 0
    steps: int = 0
    seconds: float = 0.0


class Result(Value, frozen=True, kw_only=True):
    """A verdict with its check, cost and the command that reproduces it."""

    id: str
    stage: str
    title: str
    verdict: Verdict
    about: str = ""  # what the check measures, one paragraph
    why: str = ""  # why it matters, one paragraph
    cost: Cost = Cost()
    fingerprint: str = ""
    reproduce: tuple[str, ...] = ()
    suppressed: Suppression | None = None
    traceback: str = ""

    @property
    def status(self) -> Status:
        return self.verdict.status

    @property
    def is_finding(self) -> bool:
        """A failure, warning or error that nobody has suppressed."""
        found = self.status in (Status.FAIL, Status.WARN, Status.ERROR)
        return found and self.suppressed is None


class Root(Value, frozen=True, kw_only=True):
    """A cause to fix first and the ids of the findings it explains."""

    title: str
    check: str
    explains: tuple[str, ...]
    text: str = ""
    location: Location | None = None
