"""JSON, schema 1: the source of all other formats."""

from __future__ import annotations

from typing import ClassVar

from recipe_check.run_report import Report, encode


class JsonReport:
    """The report's values as they are; non-finite numbers are strings."""

    suffix: ClassVar[str] = ".json"

    def render(self, report: Report) -> str:
        return encode(report)
