"""One line a finding, `model.py:22:13: batch-dependency …`, as editors parse them."""

from __future__ import annotations

from typing import ClassVar

from recipe_check.results import Result
from recipe_check.run_report import Report

from ._text import one_line
from ._verdict import last_line, measured, ordered


class ConciseReport:
    """Findings in the order of their weight, then the verdict on a line of its own."""

    suffix: ClassVar[str] = ".txt"

    def render(self, report: Report) -> str:
        found = [result for result in ordered(report.results) if result.is_finding]
        return "".join(f"{_line(report, result)}\n" for result in found) + last_line(report) + "\n"


def _line(report: Report, result: Result) -> str:
    place = result.verdict.location
    file = one_line(place.file if place else report.target.file or report.target.name)
    line, column = (place.line, place.column or 1) if place else (1, 1)
    text = f"{one_line(result.title)}: {measured(result)}"
    return f"{file}:{line}:{column}: {one_line(result.id)} {result.status.value}: {text}"
