"""A hypothesis that was tested in the run."""

from __future__ import annotations

from dataclasses import dataclass

from recipe_check import Cause, CauseState, Location


@dataclass(frozen=True)
class TestedCause:
    """A cause with the line it points at and what to do if it matches."""

    cause: Cause
    location: Location | None = None
    fix: str = ""


def state_of(matches: bool) -> CauseState:
    """A hypothesis that was tested either matches or is ruled out."""
    return CauseState.MATCHES if matches else CauseState.RULED_OUT
