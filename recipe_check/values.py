"""Words that every result is made of, and their form in JSON.

Nothing here knows torch or any output format.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Status(StrEnum):
    """What a check concluded, in the order in which a reader wants to see it."""

    FAIL = "fail"  # evidence of a defect: it cannot train as intended
    ERROR = "error"  # the check itself broke: says nothing about the model
    WARN = "warn"  # departs from good practice, may well train
    PASS = "pass"
    SKIP = "skip"  # does not apply, with the reason


class CauseState(StrEnum):
    """Whether a hypothesis was confirmed by a test made in this run."""

    MATCHES = "matches"
    RULED_OUT = "ruled out"
    NOT_TESTED = "not tested"


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that is written to JSON."""


class Location(Value, frozen=True, kw_only=True):
    """A place in the user's code. Lines and columns count from 1; `source` is the line's text."""

    file: str
    line: int
    column: int | None = None
    end_column: int | None = None
    source: str = ""
    op: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Cause(Value, frozen=True, kw_only=True):
    """One hypothesis, tested in the run. `check` is the id of the check that owns it."""

    title: str
    state: CauseState
    evidence: str = ""
    check: str = ""


class Fix(Value, frozen=True, kw_only=True):
    """What to change; `remove` and `add` are whole source lines at the result's location."""

    text: str
    remove: tuple[str, ...] = ()
    add: tuple[str, ...] = ()


def _plain(value: Any) -> Any:
    """Non-finite numbers as strings: JSON has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def to_plain(value: Value) -> Any:
    """The value as dicts, lists, strings and finite numbers."""
    return _plain(msgspec.to_builtins(value, str_keys=True))


def from_plain(plain: Any, kind: type[T]) -> T:
    """The inverse of `to_plain`; raises msgspec.ValidationError with the path of what is wrong."""
    return msgspec.convert(plain, kind, strict=False)
