"""What is printed: a line for each check as it ends, a block for each finding, one last line."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from recipe_check.results import (
    Cause,
    CauseState,
    Location,
    Report,
    Result,
    Status,
    Suppression,
    Target,
    Verdict,
)

from . import _costs
from ._text import clean, code_line, one_line, plural, seconds
from ._verdict import last_line, measured, rerun

__all__ = ["Style", "clean", "durations", "finding", "footer", "header", "last_line", "line"]

WIDTH = 80
_BLOCK_WIDTH = 100
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
_LEVEL = {Status.FAIL: "error", Status.WARN: "warning", Status.ERROR: "broken"}
_ID_WIDTH = 28


@dataclass(frozen=True)
class Style:
    """Whether colours and non-ASCII symbols may be used."""

    color: bool = False
    unicode: bool = True

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
    for found in target.found:
        how = style.paint(one_line(found.how), "2")
        lines.append(f"  {one_line(found.role):<13} {one_line(found.summary)}  {how}")
    lines += [f"  note: {one_line(note)}" for note in target.notes]
    return style.safe("\n".join(lines) + "\n")


def line(result: Result, style: Style) -> str:
    """`  ✔ initial-loss   2.302, expected 2.303   0.3 s`."""
    room = WIDTH - _ID_WIDTH - 14
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


def finding(result: Result, style: Style) -> str:
    """A block in the manner of a compiler's: where, measured, causes, what to do, how to rerun."""
    verdict, code = result.verdict, _SYMBOLS[result.status][2]
    level = style.paint(f"{_LEVEL[result.status]}[{one_line(result.id)}]", f"1;{code}")
    parts = [f"{level}: {one_line(result.title)}"]
    parts += _place(verdict.location, style)
    parts += _item("", verdict.message)
    if verdict.measured and verdict.expected:
        parts += _item("measured: ", measured(result))
    parts += _causes(verdict.causes)
    parts += _fix(verdict)
    if result.reproduce:
        parts.append(f"   = rerun: {rerun(result)}")
    return style.safe("\n".join(parts))


def _place(location: Location | None, style: Style) -> list[str]:
    """`--> model.py:22:13`, the source line and what of it is meant."""
    if location is None:
        return []
    column = f":{location.column}" if location.column else ""
    lines = [f"  --> {one_line(location.file)}:{location.line}{column}"]
    if not location.source.strip():
        return lines
    edge = " " * len(str(location.line))
    bar = style.paint("|", "2")
    indent = len(location.source) - len(location.source.lstrip())
    shown = code_line(location.source)[indent:]
    lines += [f"{edge} {bar}", f"{location.line} {bar}     {shown}"]
    if location.column and location.end_column:
        start = min(max(location.column - 1 - indent, 0), len(shown))
        width = max(min(location.end_column - location.column, len(shown) - start), 1)
        marks = style.paint("^" * width, "31")
        text = f"{edge} {bar}     {' ' * start}{marks} {one_line(location.op)}"
        lines.append(text.rstrip())
    return lines


def _causes(causes: tuple[Cause, ...]) -> list[str]:
    """What matches with its evidence, a line each; what is ruled out by name, together."""
    found = [cause for cause in causes if cause.state is CauseState.MATCHES]
    texts = [f"{c.title} ({c.evidence})" if c.evidence else c.title for c in found]
    excluded = [cause.title for cause in causes if cause.state is CauseState.RULED_OUT]
    matches = [item for text in texts for item in _item("matches:   ", text)]
    return matches + _item("ruled out: ", "; ".join(excluded))


def _fix(verdict: Verdict) -> list[str]:
    if verdict.fix is None:
        return []
    lines = _item("help: ", verdict.fix.text)
    lines += [f"       - {code_line(text).strip()}" for text in verdict.fix.remove]
    lines += [f"       + {code_line(text).strip()}" for text in verdict.fix.add]
    return lines


def _item(label: str, text: str) -> list[str]:
    """One `= label: text` of a block, wrapped below itself; nothing for an empty text."""
    first = f"   = {label}"
    return textwrap.wrap(
        one_line(text),
        _BLOCK_WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def footer(report: Report, html: str | None, style: Style, *, cost: bool = True) -> str:
    """Suppressions, what to fix first, the cost of the run, where the report is, and last whether
    it is ready."""
    lines = [
        _suppressed(result.id, result.suppressed)
        for result in report.results
        if result.suppressed is not None
    ]
    lines += [f"note: {one_line(note)}" for note in report.notes]
    if report.roots:
        lines.append(_fix_first(report))
    if cost and (spent := _costs.cost_words(report.run)):
        lines.append(f"cost: {spent}")
    if html:
        more = next((one_line(r.id) for r in report.results if r.is_finding), "")
        explain = f"      More: recipe-check explain {more}" if more else ""
        lines.append(f"Report: {one_line(html)}{explain}")
    code = {"passed": "32", "failed": "31"}.get(report.outcome, "33")
    return style.safe("\n".join([*lines, style.paint(last_line(report), f"1;{code}")]))


def durations(report: Report, count: int, style: Style) -> str:
    """The slowest checks with their passes and steps."""
    return style.safe(_costs.slowest(report.results, count))


def _suppressed(id: str, suppression: Suppression) -> str:
    until = f" (until {suppression.expires})" if suppression.expires else ""
    return one_line(f"suppressed {id}: {suppression.reason}{until}")


def _fix_first(report: Report) -> str:
    status = {result.id: result.status for result in report.results}
    failing = [root for root in report.roots if status.get(root.check) is Status.FAIL]
    chosen = (failing or list(report.roots))[:3]
    names = [one_line(str(root.location or root.check)) for root in chosen]
    explained = {id for root in chosen for id in root.explains}
    findings = [r for r in report.results if r.is_finding and r.status is not Status.ERROR]
    explains = f"(explains {len(explained)} of {plural(len(findings), 'finding')})"
    return f"Fix first: {', then '.join(dict.fromkeys(names))} {explains}"
