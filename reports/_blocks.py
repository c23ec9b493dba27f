"""A finding as a block of text in the manner of a compiler's message."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from recipe_check.results import Result, Verdict
from recipe_check.values import Cause, CauseState, Location, Status

from ._groups import Shown, shown
from ._text import code_line, one_line
from ._verdict import measured, rerun

if TYPE_CHECKING:
    from .terminal import Style

MOST_RULED_OUT = 4  # causes named; the report has all of them
_LEVEL = {Status.FAIL: ("error", "31"), Status.WARN: ("warning", "33"),
          Status.ERROR: ("broken", "35")}  # fmt: skip


def findings(results: Sequence[Result], style: Style) -> Iterator[tuple[Result, str]]:
    """Each finding with its block. What an earlier block says of the same line is not said
    again."""
    earlier: dict[tuple[object, object], str] = {}
    for one in shown(results):
        verdict = one.result.verdict
        key = (verdict.location, verdict.fix)
        same = earlier.get(key, "") if verdict.location and verdict.fix else ""
        earlier.setdefault(key, one.result.id)
        yield one.result, _block(one, style, same)


def finding(result: Result, style: Style) -> str:
    """The block of one finding: where, measured, causes, what to do, how to rerun."""
    return _block(Shown(result, (result.id,)), style, "")


def _block(one: Shown, style: Style, same: str) -> str:
    result, verdict = one.result, one.result.verdict
    parts = [_head(one, style), *_place(verdict.location, style, excerpt=not same)]
    parts += _item("", verdict.message, style)
    if one.is_group:
        parts += _item("checks:    ", ", ".join(one.ids), style)
    if verdict.measured and verdict.expected:
        parts += _item("measured:  ", measured(result), style)
    parts += _causes(verdict, style)
    parts += _item("help: ", f"as for {same} above", style) if same else _fix(verdict, style)
    if result.reproduce:
        parts.append(f"   = rerun: {rerun(result)}")
    return style.safe("\n".join(parts))


def _head(one: Shown, style: Style) -> str:
    word, code = _LEVEL[one.result.status]
    name = word if one.is_group else f"{word}[{one_line(one.result.id)}]"
    return f"{style.paint(name, f'1;{code}')}: {one_line(one.result.title)}"


def _place(location: Location | None, style: Style, *, excerpt: bool) -> list[str]:
    """`--> model.py:22:13`, the source line and what of it is meant."""
    if location is None:
        return []
    column = f":{location.column}" if location.column else ""
    lines = [f"  --> {one_line(location.file)}:{location.line}{column}"]
    if not location.source.strip() or not excerpt:
        return lines
    edge = " " * len(str(location.line))
    bar = style.paint("|", "2")
    indent = len(location.source) - len(location.source.lstrip())
    shown_line = code_line(location.source)[indent:]
    lines += [f"{edge} {bar}", f"{location.line} {bar}     {_seen(shown_line, location, style)}"]
    if location.column and location.end_column:
        start = min(max(location.column - 1 - indent, 0), len(shown_line))
        width = max(min(location.end_column - location.column, len(shown_line) - start), 1)
        marks = style.paint("^" * width, "31")
        text = f"{edge} {bar}     {' ' * start}{marks} {one_line(location.op)}"
        lines.append(text.rstrip())
    return lines


def _seen(line: str, location: Location, style: Style) -> str:
    """The line without what a terminal would wrap, where that stands behind the mark."""
    room = style.columns - len(str(location.line)) - 7
    indent = len(location.source) - len(location.source.lstrip())
    marked = (location.end_column or 1) - 1 - indent
    return f"{line[: room - 1]}…" if max(marked, 0) < room < len(line) else line


def _causes(verdict: Verdict, style: Style) -> list[str]:
    """What matches with its evidence, a line each; what is ruled out by name, together."""
    found = [cause for cause in verdict.causes if cause.state is CauseState.MATCHES]
    matches = [
        item for c in found for item in _item("matches:   ", _with_evidence(c, verdict), style)
    ]
    names = [cause.title for cause in verdict.causes if cause.state is CauseState.RULED_OUT]
    left = len(names) - MOST_RULED_OUT
    if left > 1:
        names = [*names[:MOST_RULED_OUT], f"and {left} more"]
    return matches + _item("ruled out: ", "; ".join(names), style)


def _with_evidence(cause: Cause, verdict: Verdict) -> str:
    """Evidence that the first line of the block has said already is not repeated."""
    said = not cause.evidence or cause.evidence in verdict.message
    return cause.title if said else f"{cause.title} ({cause.evidence})"


def _fix(verdict: Verdict, style: Style) -> list[str]:
    if verdict.fix is None:
        return []
    lines = _item("help: ", verdict.fix.text, style)
    lines += [f"       - {code_line(text).strip()}" for text in verdict.fix.remove]
    lines += [f"       + {code_line(text).strip()}" for text in verdict.fix.add]
    return lines


def _item(label: str, text: str, style: Style) -> list[str]:
    """One `= label: text` of a block, wrapped below itself; nothing for an empty text."""
    return wrapped(f"   = {label}", text, style)


def wrapped(first: str, text: str, style: Style) -> list[str]:
    """The text behind `first`, and below its own start where it is long."""
    below = " " * (len(first) if len(first) < style.block_width // 2 else 6)
    return textwrap.wrap(
        one_line(text),
        style.block_width,
        initial_indent=first,
        subsequent_indent=below,
        break_long_words=False,
        break_on_hyphens=False,
    )
