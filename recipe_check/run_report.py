"""What a whole run found. `encode` and `decode` are its JSON form (schema 1): the single source
that every report is written from."""

from __future__ import annotations

import json

from recipe_check.details import Detail
from recipe_check.results import Result, Root, Suppression
from recipe_check.values import Status, Value, from_plain, to_plain

SCHEMA = 1


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


def encode(report: Report) -> str:
    """The report as JSON text, one trailing newline."""
    plain = to_plain(report)
    plain["counts"] = report.counts
    return json.dumps(plain, indent=1, ensure_ascii=True) + "\n"


def decode(text: str) -> Report:
    """The report in a JSON text; raises ValueError or msgspec.ValidationError."""
    return from_plain(json.loads(text), Report)
