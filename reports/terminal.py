"""What is printed: a line for each check as it ends, a block for each finding, one last line."""

from __future__ import annotations

import shlex
import textwrap
from dataclasses import dataclass

from recipe_check.results import (
    Cause,
    CauseState,
    Fix,
    Location,
    Report,
    Result,
    Status,
    Target,
    Verdict,
)

from ._text import clean, plural, seconds, short

__all__ = ["Style", "clean", "finding", "footer", "header", "line"]

WIDTH = 80
_SYMBOLS = {
    Status.PASS: ("✔", "+", "32"),
    Status.WARN: ("!", "!", "33"),
    Status.FAIL: ("✖", "x", "31"),
    Status.SKIP: ("–", "-", "2"),
    Status.ERROR: ("⚡", "E", "35"),
}
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


def header(title: str, seed: int, target: Target, style: Style) -> str:
    """Tool, versions and device, then what was loaded and how it was found."""
    lines = [clean(f"{title} · seed {seed}"), clean(f"loaded {target.file}:")]
    for found in target.found:
        how = style.paint(short(found.how), "2")
        lines.append(f"  {found.role:<13} {short(found.summary)}  {how}")
    lines += [f"  note: {short(note)}" for note in target.notes]
    return "\n".join(lines) + "\n"


def line(result: Result, style: Style) -> str:
    """`  ✔ initial-loss   2.302, expected 2.303   0.3 s`."""
    verdict = result.verdict
    text = verdict.measured if result.status not in (Status.SKIP, Status.ERROR) else ""
    if text and verdict.expected and result.status is not Status.PASS:
        text += f", expected {verdict.expected}"
    text = text or verdict.message
    if result.status is Status.SKIP:
        text = f"skipped: {text}"
    room = WIDTH - _ID_WIDTH - 14
    shown = textwrap.shorten(clean(text), room, placeholder=" …")
    name = style.paint(f"{result.id:<{_ID_WIDTH}}", "1") if result.is_finding else (
        f"{result.id:<{_ID_WIDTH}}"
    )  # fmt: skip
    return (
        f"  {style.symbol(result.status)} {name} {shown:<{room}} {seconds(result.cost.seconds):>7}"
    )


def finding(result: Result, style: Style) -> str:
    """A block in the manner of a compiler's: where, measured, causes, what to do, how to rerun."""
    verdict, code = result.verdict, _SYMBOLS[result.status][2]
    level = style.paint(f"{_LEVEL[result.status]}[{result.id}]", f"1;{code}")
    parts = [f"{level}: {short(result.title)}"]
    parts += _place(verdict.location, style)
    parts.append(_wrapped("=", "", verdict.message))
    if verdict.measured and verdict.expected:
        parts.append(
            _wrapped("=", "measured: ", f"{verdict.measured}, expected {verdict.expected}")
        )
    for state in (CauseState.MATCHES, CauseState.RULED_OUT):
        parts += _causes([c for c in verdict.causes if c.state is state], state, style)
    parts += _fix(verdict)
    if result.reproduce:
        parts.append(f"   = rerun: {clean(shlex.join(result.reproduce))}")
    return "\n".join(parts)


def _place(location: Location | None, style: Style) -> list[str]:
    if location is None:
        return []
    column = f":{location.column}" if location.column else ""
    lines = [f"  --> {short(location.file)}:{location.line}{column}"]
    if location.source:
        number = str(location.line)
        source = location.source.rstrip()
        indent = len(source) - len(source.lstrip())
        shown = short(source.lstrip())
        bar = style.paint("|", "2")
        lines += [f"{' ' * len(number)} {bar}", f"{number} {bar}     {shown}"]
        if location.column and location.end_column:
            start = max(location.column - 1 - indent, 0)
            width = max(min(location.end_column - location.column, len(shown) - start), 1)
            marks = style.paint("^" * width, "31")
            lines.append(
                f"{' ' * len(number)} {bar}     {' ' * start}{marks} {location.op}".rstrip()
            )
    return lines


def _causes(causes: list[Cause], state: CauseState, style: Style) -> list[str]:
    lines = []
    for cause in causes:
        label = "matches:   " if state is CauseState.MATCHES else "ruled out: "
        evidence = f" ({cause.evidence})" if cause.evidence else ""
        lines.append(_wrapped("=", label, f"{cause.title}{evidence}"))
    return lines


def _fix(verdict: Verdict) -> list[str]:
    fix: Fix | None = verdict.fix
    if fix is None:
        return []
    lines = [_wrapped("=", "help: ", fix.text)]
    lines += [f"       - {short(text.strip())}" for text in fix.remove]
    lines += [f"       + {short(text.strip())}" for text in fix.add]
    return lines


def _wrapped(mark: str, label: str, text: str) -> str:
    first = f"   {mark} {label}"
    return textwrap.fill(
        short(" ".join(text.split())),
        100,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def footer(report: Report, html: str | None, style: Style) -> str:
    """What to fix first, where the report is, and as the last line whether it is ready."""
    lines = []
    if report.roots:
        lines.append(_fix_first(report))
    if html:
        more = next((r.id for r in report.results if r.is_finding), "")
        explain = f"      More: recipe-check explain {more}" if more else ""
        lines.append(f"Report: {clean(html)}{explain}")
    code = "32" if report.outcome == "passed" else "31"
    lines.append(style.paint(last_line(report), f"1;{code}"))
    return "\n".join(lines)


def _fix_first(report: Report) -> str:
    failing = [root for root in report.roots if _status(report, root.check) is Status.FAIL]
    chosen = (failing or list(report.roots))[:3]
    names = [short(str(root.location)) if root.location else root.check for root in chosen]
    explained = {id for root in chosen for id in root.explains}
    findings = [r for r in report.results if r.is_finding and r.status is not Status.ERROR]
    explains = f"(explains {len(explained)} of {plural(len(findings), 'finding')})"
    return f"Fix first: {', then '.join(dict.fromkeys(names))} {explains}"


def _status(report: Report, id: str) -> Status:
    return next(result.status for result in report.results if result.id == id)


def last_line(report: Report) -> str:
    """The one line that says whether it is ready to train."""
    counts = report.counts
    words = (
        ("fail", "failed"), ("error", "broke"), ("warn", "warning"), ("pass", "passed"),
        ("suppressed", "suppressed"), ("skip", "skipped"),
    )  # fmt: skip
    parts = [
        plural(counts[key], word) if key == "warn" else f"{counts[key]} {word}"
        for key, word in words
        if counts[key]
    ]
    tail = f"{', '.join(parts)} in {seconds(report.run.seconds)}"
    heads = {
        "passed": "Ready to train",
        "interrupted": "Interrupted",
        "empty": "Nothing was checked",
    }
    if report.outcome == "passed" and counts["fail"]:
        return f"Not ready to train, passed by --fail-on: {tail}"
    if report.outcome in heads:
        return f"{heads[report.outcome]}: {tail}"
    return (
        f"Not ready to train: {tail}" if counts["fail"] or counts["warn"] else f"Undecided: {tail}"
    )
