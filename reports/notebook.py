"""What Python shows of a report: a table under a notebook's cell, a text where it is printed."""

from __future__ import annotations

import html

from recipe_check.results import Result
from recipe_check.run_report import Report
from recipe_check.values import Status

from ._text import one_line
from ._verdict import WORDS, headline, last_line, ordered, shown_status
from .terminal import Style, findings

_COLORS = {"fail": "#d1242f", "error": "#8250df", "warn": "#bf8700", "pass": "#1a7f37"}
_GREY = "#808080"  # readable on white and on a dark theme, as the others are
_CELL = "text-align:left;vertical-align:top;padding:2px 10px"
_HEAD = ("", "Check", "Measured", "Expected", "")


def as_html(report: Report) -> str:
    """The headline and a row a result: status, title, measured, expected, message. No script, no
    style sheet: nothing outside the table changes."""
    head = headline(report)
    cells = "".join(f'<th style="{_CELL}">{title}</th>' for title in _HEAD)
    rows = "".join(_row(result) for result in ordered(report.results))
    return (
        f'<div><p><strong style="color:{_COLORS[head.status]}">{_text(head.text)}</strong> '
        f"{_text(head.then)}</p><table><thead><tr>{cells}</tr></thead>"
        f"<tbody>{rows}</tbody></table><p>{_text(last_line(report))}</p></div>"
    )


def _row(result: Result) -> str:
    verdict, status = result.verdict, shown_status(result)
    mark = f'<strong style="color:{_COLORS.get(status, _GREY)}">{WORDS[status]}</strong>'
    name = f"{_text(result.title)}<br><code>{_text(result.id)}</code>"
    texts = (mark, name, _text(verdict.measured), _text(verdict.expected), _message(result))
    cells = "".join(f'<td style="{_CELL}">{text}</td>' for text in texts)
    return f"<tr>{cells}</tr>"


def _message(result: Result) -> str:
    """What was seen, where, and what to change."""
    verdict = result.verdict
    place = f"<code>{_text(str(verdict.location))}</code> " if verdict.location else ""
    fix = f"<br><em>{_text(verdict.fix.text)}</em>" if verdict.fix else ""
    return f"{place}{_text(verdict.message)}{fix}"


def _text(text: str) -> str:
    return html.escape(one_line(text))


def as_text(report: Report) -> str:
    """Every finding as a block, the reasons where nothing was checked, and the last line."""
    blocks = [block for _, block in findings(report.results, Style())]
    if report.outcome == "empty":
        blocks += [
            f"skipped {one_line(result.id)}: {one_line(result.verdict.message)}"
            for result in report.results
            if result.status is Status.SKIP
        ]
    return "\n\n".join([*blocks, last_line(report)])
