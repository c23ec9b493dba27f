"""What is asked of an engine, and what it answers to the load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recipe_check.api import Check
from recipe_check.request import CheckRequest
from recipe_check.run_report import Target
from recipe_check.values import from_plain


@dataclass(frozen=True)
class Job:
    """One check to run: the check with its options, and what the worker needs to rebuild it.

    `skip` says why it is not to be run, '' where it is.
    """

    check: Check
    request: CheckRequest
    skip: str = ""


@dataclass(frozen=True)
class Loaded:
    """What the worker answered to the load."""

    target: Target
    device: str
    environment: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Loaded:
        """From the plain values that cross the process boundary."""
        found = tuple((name, value) for name, value in answer["environment"])
        return cls(from_plain(answer["target"], Target), answer["device"], found)
