"""What was found before: a baseline hides it, a comparison shows what changed.

A finding is the same while its fingerprint is: check, file and text of the line. A failure that
was a warning before is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from recipe_check.errors import UsageError
from recipe_check.files import write_whole
from recipe_check.marks import LEAST_REASON
from recipe_check.results import Result, Suppression
from recipe_check.run_report import Report, encode
from recipe_check.saved import read_report
from recipe_check.values import Status


@dataclass(frozen=True)
class Baseline:
    """The findings of a saved report, by fingerprint, and why they are accepted."""

    file: str
    reason: str
    known: Mapping[str, Result]

    def hide(self, results: Sequence[Result]) -> tuple[Result, ...]:
        """Findings that are in the baseline do not count; they keep their verdict."""
        said = f"{self.reason} (in {self.file})" if self.reason else f"it is in {self.file}"
        mark = Suppression(reason=said, baseline=self.file)
        return tuple(
            msgspec.structs.replace(r, suppressed=mark)
            if counts(r) and not is_new(r, self.known)
            else r
            for r in results
        )


def read_baseline(file: str) -> Baseline:
    """Raises UsageError where the file is no saved report."""
    report = read_report(file)
    return Baseline(file, report.reason, by_fingerprint(report))


def write_baseline(report: Report, file: str, reason: str) -> None:
    """Only the findings: what is not needed to know them again is left out."""
    kept = tuple(by_fingerprint(report).values())
    small = msgspec.structs.replace(report, results=kept, inputs=(), layers=(), reason=reason)
    write_whole(Path(file), encode(small))


def check_reason(file: str | None, reason: str | None) -> None:
    """A baseline needs a reason, and a reason a baseline; raises UsageError."""
    if reason and not file:
        raise UsageError("--reason is for a baseline", "add  --write-baseline FILE")
    if file and len((reason or "").strip()) < LEAST_REASON:
        raise UsageError(
            f"--write-baseline needs a reason of at least {LEAST_REASON} characters",
            'for example  --reason "found before the gate, to be fixed by May"',
        )


def counts(result: Result) -> bool:
    """A failure or warning that nobody has suppressed; a check that broke says nothing."""
    return result.is_finding and result.status is not Status.ERROR


def by_fingerprint(report: Report) -> dict[str, Result]:
    """Findings of a report that count, and those that only an earlier baseline hid."""
    return {
        result.fingerprint: result
        for result in report.results
        if counts(result) or (result.suppressed is not None and result.suppressed.baseline)
    }


def is_new(result: Result, known: Mapping[str, Result]) -> bool:
    """Whether it was not there before, or only as a warning and now fails."""
    before = known.get(result.fingerprint)
    worse = before is not None and before.status is Status.WARN and result.status is Status.FAIL
    return before is None or worse
