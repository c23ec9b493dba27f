"""Frozen values that flow from the checks to the reports.

Nothing here knows torch or any output format. `encode` and `decode` are the JSON form
(schema 1): the single source every report is written from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

SCHEMA = 1
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


class Line(Value, frozen=True, kw_only=True):
    """One named curve of a Series; `x` and `y` have the same length."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Mark(Value, frozen=True, kw_only=True):
    """A horizontal reference line: a floor, chance level or threshold."""

    name: str
    value: float


class Series(Value, frozen=True, kw_only=True, tag="series"):
    """Curves over a shared x axis (at most 400 points a line; see `thin`)."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    log_y: bool = False
    caption: str = ""


class Bars(Value, frozen=True, kw_only=True, tag="bars"):
    """One value for each named item, in order: lollipops by depth, counts by class."""

    title: str
    value_label: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    marks: tuple[Mark, ...] = ()
    log_y: bool = False
    caption: str = ""


class Table(Value, frozen=True, kw_only=True, tag="table"):
    """Rows of cells; numbers are formatted by the report."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    caption: str = ""


class Matrix(Value, frozen=True, kw_only=True, tag="matrix"):
    """A heat map, at most 32 x 32; `values[row][column]`, non-negative."""

    title: str
    x_label: str
    y_label: str
    values: tuple[tuple[float, ...], ...]
    caption: str = ""


class Histogram(Value, frozen=True, kw_only=True, tag="histogram"):
    """Counts between edges; len(edges) == len(counts) + 1."""

    title: str
    x_label: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    caption: str = ""


class Images(Value, frozen=True, kw_only=True, tag="images"):
    """Small pictures, each [height][width] grey or [height][width][3] colour, values 0 to 1."""

    title: str
    labels: tuple[str, ...]
    pixels: tuple[tuple[tuple[float | tuple[float, float, float], ...], ...], ...]
    caption: str = ""


Detail = Series | Bars | Table | Matrix | Histogram | Images


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


class Found(Value, frozen=True, kw_only=True):
    """One thing that was loaded: its role, what it is, and how it was found."""

    role: str
    summary: str
    how: str


class Layer(Value, frozen=True, kw_only=True):
    """One leaf module of the model summary; shapes are those of the first traced batch."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    activation_mean: float | None = None
    activation_std: float | None = None
    gradient_norm: float | None = None


class Summary(Value, frozen=True, kw_only=True):
    """What the report shows of the target beside the results."""

    inputs: tuple[Detail, ...] = ()
    layers: tuple[Layer, ...] = ()


class DeclaredSuppression(Value, frozen=True, kw_only=True):
    """What `@recipe_check.suppress` on the model's class declares for one check."""

    check: str
    suppression: Suppression


class Target(Value, frozen=True, kw_only=True):
    """What was checked. `file` is relative to the working directory where possible."""

    name: str
    file: str
    model: str
    parameters: int
    sha256: str
    found: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()
    suppressions: tuple[DeclaredSuppression, ...] = ()


class Expense(Value, frozen=True, kw_only=True):
    """Seconds of one plain training step of the same setup, and memory at most: of tensors on a
    CUDA device, else of the process. None where it was not measured."""

    step_seconds: float | None = None
    peak_memory_bytes: int | None = None


class Run(Value, frozen=True, kw_only=True):
    """How it was run; `started` is ISO 8601 in UTC, `seconds` wall-clock.

    `step_equivalents` is the time of all checks in plain training steps of the same setup;
    `step_seconds` and `peak_memory_bytes` are as in `Expense`.
    """

    seed: int
    device: str
    started: str
    seconds: float
    budget_seconds: float
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    objects_unchanged: bool | None = None
    interrupted: bool = False
    step_seconds: float | None = None
    step_equivalents: float | None = None
    peak_memory_bytes: int | None = None


class Tool(Value, frozen=True, kw_only=True):
    name: str
    version: str


class Report(Value, frozen=True, kw_only=True):
    """Everything a report writer may know. `exit_code` and `outcome` come from the policy.

    `notes` are remarks on suppressions that are unused or expired; `reason` says why the findings
    of a baseline are accepted.
    """

    schema: int
    tool: Tool
    target: Target
    run: Run
    outcome: str
    exit_code: int
    results: tuple[Result, ...]
    roots: tuple[Root, ...] = ()
    inputs: tuple[Detail, ...] = ()
    layers: tuple[Layer, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Number of results by status; suppressed findings are counted apart."""
        found = {status.value: 0 for status in Status} | {"suppressed": 0}
        for result in self.results:
            found["suppressed" if result.suppressed else result.status.value] += 1
        return found

    def __str__(self) -> str:
        """The findings and the last line, as the command prints them."""
        from recipe_check.reports.notebook import as_text

        text: str = as_text(self)
        return text

    def __repr__(self) -> str:
        """Short: a report holds thousands of numbers."""
        found = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count)
        return f"<Report {self.outcome}: {found}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from recipe_check.reports.notebook import as_html

        table: str = as_html(self)
        return table


def thin(values: Sequence[float], most: int = 400) -> tuple[float, ...]:
    """At most `most` of the values, evenly spaced, the first and the last kept."""
    if len(values) <= most:
        return tuple(values)
    last = len(values) - 1
    return tuple(values[round(i * last / (most - 1))] for i in range(most))


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


def encode(report: Report) -> str:
    """The report as JSON text, one trailing newline."""
    plain = to_plain(report)
    plain["counts"] = report.counts
    return json.dumps(plain, indent=1, ensure_ascii=True) + "\n"


def decode(text: str) -> Report:
    """The report in a JSON text; raises ValueError or msgspec.ValidationError."""
    return from_plain(json.loads(text), Report)
