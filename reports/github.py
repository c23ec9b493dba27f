"""GitHub annotations: one workflow command a line, shown on the line of code they name."""

from __future__ import annotations

from typing import ClassVar

from recipe_check.run_report import Report
from recipe_check.values import Status

from ._groups import Shown, shown
from ._text import one_line, plural
from ._verdict import measured, rerun

MOST = 10  # annotations that GitHub shows of one level and step
_LEVEL = {Status.FAIL: "error", Status.ERROR: "error", Status.WARN: "warning"}


class GithubReport:
    """At most ten annotations a level; one notice says how many more there are."""

    suffix: ClassVar[str] = ".txt"

    def render(self, report: Report) -> str:
        lines, left = [], 0
        for level in ("error", "warning"):
            found = [one for one in shown(report.results) if _LEVEL[one.result.status] == level]
            lines += [_annotation(report, level, one) for one in found[:MOST]]
            left += len(found[MOST:])
        if left:
            title = _property("recipe-check: not all findings are shown")
            text = f"{plural(left, 'finding')} more: see the summary or the HTML report"
            lines.append(f"::notice title={title}::{_data(text)}")
        return "".join(f"{line}\n" for line in lines)


def _annotation(report: Report, level: str, one: Shown) -> str:
    result, place = one.result, one.result.verdict.location
    broke = " broke" if result.status is Status.ERROR else ""
    names = f" ({one_line(result.id)}{broke})" if not one.is_group else ""
    properties = {
        "title": f"recipe-check: {one_line(result.title)}{names}",
        "file": one_line(place.file if place else report.target.file).replace("\\", "/"),
        "line": str(place.line) if place else "",
        "endLine": str(place.line) if place else "",
        "col": str(place.column) if place and place.column else "",
        "endColumn": str(place.end_column) if place and place.end_column else "",
    }
    written = ",".join(f"{name}={_property(text)}" for name, text in properties.items() if text)
    return f"::{level} {written}::{_data(_message(one))}"


def _message(one: Shown) -> str:
    result = one.result
    lines = [one_line(result.verdict.message) or measured(result)]
    if one.is_group:
        lines.append(f"Checks: {one_line(', '.join(one.ids))}")
    if result.verdict.measured:
        lines.append(f"Measured: {measured(result)}")
    if result.verdict.fix is not None:
        lines.append(f"Help: {one_line(result.verdict.fix.text)}")
    if result.reproduce:
        lines.append(f"Run: {rerun(result)}")
    return "\n".join(lines)


def _data(text: str) -> str:
    """The text of a command: a per cent sign and line ends would end or change it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
