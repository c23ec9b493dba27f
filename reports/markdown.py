"""A Markdown summary for a CI job page or a pull request, at most 64 KB."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from recipe_check.results import Result
from recipe_check.run_report import Report

from ._groups import shown
from ._roots import firsts
from ._text import one_line, plural, seconds
from ._verdict import WORDS, headline, ordered, shown_status

MOST_BYTES = 60_000  # GitHub refuses a step summary of a megabyte; ours stays far below
_SIGNS = {"fail": "❌", "error": "💥", "warn": "⚠️", "suppressed": "🔕", "skip": "⏭️", "pass": "✅"}
_HEAD = "| Result | Check | Measured | Expected |\n| --- | --- | --- | --- |"


class MarkdownReport:
    """Headline, what to fix first, a table of what did not pass, the passed folded."""

    suffix: ClassVar[str] = ".md"

    def render(self, report: Report) -> str:
        results = _lines(report)
        passed = [result for result in results if shown_status(result) == "pass"]
        others = [result for result in results if shown_status(result) != "pass"]
        parts = [
            f"## recipe-check: {_text(headline(report).text)}",
            _facts(report),
            _fix_first(report),
            _table(others, MOST_BYTES // 2),
            _folded(passed),
            "\n".join(f"- {_text(note)}" for note in report.notes),
            f"Run it again:\n\n```sh\n{_command(report)}\n```" if report.run.command else "",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"


def _lines(report: Report) -> list[Result]:
    """The results; checks that stopped at the same error are one line, with all their names."""
    groups = {one.ids[0]: one for one in shown(report.results) if one.is_group}
    hidden = {id for one in groups.values() for id in one.ids[1:]}
    named = {id: msgspec.structs.replace(one.result, id=", ".join(one.ids))
             for id, one in groups.items()}  # fmt: skip
    return [named.get(r.id, r) for r in ordered(report.results) if r.id not in hidden]


def _facts(report: Report) -> str:
    run = report.run
    parts = [_code(report.target.file or report.target.name), _text(report.target.model),
             f"seed {run.seed}", _text(run.device), seconds(run.seconds)]  # fmt: skip
    return " · ".join(part for part in parts if part)


def _fix_first(report: Report) -> str:
    lines = []
    for first in firsts(report)[:5]:
        root = first.root
        place = f"{_code(str(root.location))} " if root.location else ""
        help_ = f": {_text(root.text)}" if root.text else ""
        lines.append(f"1. {place}{_text(first.title)}{help_}")
    return "\n".join(["**Fix first**", "", *lines]) if lines else ""


def _table(results: Sequence[Result], most: int) -> str:
    """As many rows as fit in `most` bytes, and how many do not."""
    rows: list[str] = []
    size = 0
    for result in results:
        row = _row(result)
        size += len(row.encode())
        if size > most:
            break
        rows.append(row)
    left = len(results) - len(rows)
    note = f"\n\n{plural(left, 'check')} more: see the HTML or JSON report." if left else ""
    return "\n".join([_HEAD, *rows]) + note if rows else ""


def _row(result: Result) -> str:
    status, verdict = shown_status(result), result.verdict
    reason = result.suppressed.reason if result.suppressed else ""
    found = verdict.measured or verdict.message
    cells = (
        f"{_SIGNS[status]} {WORDS[status].lower()}",
        _code(result.id).replace("|", "\\|"),
        _text(f"{found} ({reason})" if reason else found) or "–",
        _text(verdict.expected) or "–",
    )
    return f"| {' | '.join(cells)} |"


def _folded(passed: Sequence[Result]) -> str:
    if not passed:
        return ""
    table = _table(passed, MOST_BYTES // 3)
    return f"<details><summary>{len(passed)} passed</summary>\n\n{table}\n\n</details>"


def _command(report: Report) -> str:
    return one_line(shlex.join(report.run.command)).replace("```", "` ` `")


def _text(text: str) -> str:
    """Text in which GitHub finds no mark-up, link, HTML or mention."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", plain)
    return (
        plain.replace("://", ":<!-- -->//")
        .replace("@", "@<!-- -->")
        .replace("www.", "www<!-- -->.")
    )


def _code(text: str) -> str:
    """A code span, fenced by more back-ticks than the text has in a row."""
    plain = one_line(text)
    longest = max((len(run) for run in re.findall("`+", plain)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{plain}{pad}{fence}" if plain else ""
