"""What is printed: a line for each check as it ends, a block for each finding, one last line."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from recipe_check.results import Result, Suppression
from recipe_check.run_report import Found, Report, Target
from recipe_check.values import Status

from . import _costs, _roots
from ._blocks import finding, findings, wrapped
from ._groups import shown
from ._text import clean, one_line, seconds
from ._verdict import last_line, measured

__all__ = ["Style", "clean", "durations", "finding", "findings", "footer", "header", "last_line",
           "line"]  # fmt: skip

_SYMBOLS = {
    Status.PASS: ("✔", "+", "32"),
    Status.WARN: ("!", "!", "33"),
    Status.FAIL: ("✖", "x", "31"),
    Status.SKIP: ("–", "-", "2"),
    Status.ERROR: ("⚡", "E", "35"),
}
_ASCII = str.maketrans({"✔": "+", "✖": "x", "–": "-", "—": "-", "→": ">", "·": "-", "…": "~",
                        "±": "+-", "≤": "<=", "≥": ">=", "×": "x", "‖": "|", "−": "-",
                        "“": '"', "”": '"', "’": "'", "µ": "u"})  # fmt: skip
_JUDGED = (Status.FAIL, Status.WARN)
_ID_WIDTH = 28
MOST_FIRST = 3  # root causes at the end; the report has all


@dataclass(frozen=True)
class Style:
    """Whether colours and non-ASCII symbols may be used; `columns` of the terminal, 0 for none."""

    color: bool = False
    unicode: bool = True
    columns: int = 0

    @property
    def line_width(self) -> int:
        """Of the line of a check: it grows with the terminal up to where the eye loses it."""
        return min(max(self.columns, 60), 120) if self.columns else 80

    @property
    def block_width(self) -> int:
        """Of the text of a finding."""
        return min(max(self.columns, 60), 100) if self.columns else 100

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text

    def symbol(self, status: Status) -> str:
        shown, plain, code = _SYMBOLS[status]
        return self.paint(shown if self.unicode else plain, code)

    def safe(self, text: str) -> str:
        """ASCII where nothing else can be printed: known signs by likeness, others by number."""
        if self.unicode:
            return text
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def header(title: str, seed: int, target: Target, style: Style) -> str:
    """Tool, versions and device, then what was loaded and how it was found."""
    lines = [one_line(f"{title} · seed {seed}"), one_line(f"loaded {target.file}:")]
    lines += [_found(found, style) for found in target.found]
    lines += [f"  note: {one_line(note)}" for note in target.notes]
    return style.safe("\n".join(lines) + "\n")


def _found(found: Found, style: Style) -> str:
    """What was found, and how: below it where a narrow terminal has no room beside it."""
    what, how = f"  {one_line(found.role):<13} {one_line(found.summary)}", one_line(found.how)
    fits = not style.columns or len(what) + len(how) + 2 <= style.columns
    gap = "  " if fits else "\n" + " " * 16
    return f"{what}{gap}{style.paint(how, '2')}"


def line(result: Result, style: Style) -> str:
    """`  ✔ initial-loss   2.302, expected 2.303   0.3 s`."""
    room = style.line_width - _ID_WIDTH - 14
    shown = textwrap.shorten(_outcome(result), room, placeholder=" …")
    name = f"{one_line(result.id):<{_ID_WIDTH}}"
    bold = style.paint(name, "1") if result.is_finding else name
    cost = f"{seconds(result.cost.seconds):>7}"
    return style.safe(f"  {style.symbol(result.status)} {bold} {shown:<{room}} {cost}")


def _outcome(result: Result) -> str:
    if result.status is Status.SKIP:
        return one_line(f"skipped: {result.verdict.message}")
    if result.status is Status.ERROR:
        return one_line(result.verdict.message)
    if result.status is Status.PASS and result.verdict.measured:
        return one_line(result.verdict.measured)
    return measured(result)


def footer(report: Report, html: str | None, style: Style, *, cost: bool = True) -> str:
    """Suppressions, what to fix first, the cost of the run, where the report is, and last whether
    it is ready."""
    lines = [
        _suppressed(result.id, result.suppressed)
        for result in report.results
        if result.suppressed is not None
    ]
    lines += [f"note: {one_line(note)}" for note in report.notes]
    lines += _fix_first(report, style)
    if cost and (spent := _costs.cost_words(report.run)):
        lines.append(f"cost: {spent}")
    if html:
        lines.append(f"Report: {one_line(html)}{_explain(report)}")
    code = {"passed": "32", "failed": "31"}.get(report.outcome, "33")
    return style.safe("\n".join([*lines, style.paint(last_line(report), f"1;{code}")]))


def durations(report: Report, count: int, style: Style) -> str:
    """The slowest checks with their passes and steps."""
    return style.safe(_costs.slowest(report.results, count))


def _suppressed(id: str, suppression: Suppression) -> str:
    until = f" (until {suppression.expires})" if suppression.expires else ""
    return one_line(f"suppressed {id}: {suppression.reason}{until}")


def _explain(report: Report) -> str:
    """Where to read on: the check of what is to be fixed first, else of the worst finding."""
    worst = [first.root.check for first in _roots.failing(report)]
    worst += [one.result.id for one in shown(report.results) if one.result.status in _JUDGED]
    return f"      More: recipe-check explain {one_line(worst[0])}" if worst else ""


def _fix_first(report: Report, style: Style) -> list[str]:
    """The root causes behind the failures in the order in which to work, each with its place."""
    chosen = _roots.failing(report)[:MOST_FIRST]
    if not chosen:
        return []
    places = [one_line(first.place) for first in chosen]
    width = max(len(place) for place in places)
    lines = []
    for number, (place, first) in enumerate(zip(places, chosen, strict=True), 1):
        head = f"  {number}. {place:<{width}}  "
        lines += wrapped(head, first.title, style)
    return [f"Fix first ({_roots.explained(report, chosen)}):", *lines]
