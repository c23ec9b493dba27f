"""The report a person reads: one file, no script, no request."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jinja2

from recipe_check.results import Cause, Report, Result, Status

from . import _plots, _tables, _text
from .terminal import last_line

_CSS_CLASS = {"fail": "fail", "warn": "warn", "pass": "pass", "error": "err",
              "suppressed": "supp", "skip": "skipd"}  # fmt: skip
_WORDS = {"fail": "Failed", "error": "Broke", "warn": "Warning", "pass": "Passed",
          "suppressed": "Suppressed", "skip": "Skipped"}  # fmt: skip
_MOST_ROWS = 200


@dataclass(frozen=True)
class _Group:
    """Results of one kind, and how many stand before it."""

    status: str
    title: str
    results: tuple[Result, ...]
    start: int


class HtmlReport:
    """Self-contained HTML; the same report gives the same bytes."""

    suffix: ClassVar[str] = ".html"

    def render(self, report: Report) -> str:
        environment = _environment()
        style = _source("report.css")
        return environment.get_template("report.html.j2").render(
            report=report,
            style=_CheckedStyle(style),
            style_hash=_hash(style),
            css=_CSS_CLASS,
            words=_WORDS,
            groups=_groups(report.results),
            statuses={result.id: result.status.value for result in report.results},
            ids={result.id for result in report.results},
            findings=[r for r in _ordered(report.results) if r.is_finding],
            others=[r for r in _ordered(report.results) if not r.is_finding],
            layer_table=_tables.layer_table(report.layers),
            most_rows=_MOST_ROWS,
            tally=last_line(report),
            **_headline(report),
        )


def draw_ahead(results: Iterable[Result]) -> None:
    """Draws the pictures of results while later checks still run; `render` finds them drawn."""
    for result in results:
        for detail in result.verdict.details:
            if _plots.is_picture(detail):
                _plots.svg(detail)


class _CheckedStyle(str):
    """Our own style sheet: the one text that is not escaped, since its hash must hold."""

    def __html__(self) -> str:
        return str(self)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recipe_check.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "short": lambda value: _text.short(str(value)),
        "clean": lambda value: _text.clean(str(value)),
        "number": _text.number,
        "seconds": _text.seconds,
        "command": lambda words: shlex.join(words),
        "svg": _plots.svg,
        "is_picture": _plots.is_picture,
        "as_table": _tables.as_table,
        "alt": _tables.alt,
        "sort_causes": _sorted_causes,
    }
    return environment


def _source(name: str) -> str:
    loader = jinja2.PackageLoader("recipe_check.reports", "templates")
    return loader.get_source(jinja2.Environment(), name)[0]


def _hash(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _status(result: Result) -> str:
    return "suppressed" if result.suppressed else result.status.value


def _ordered(results: Sequence[Result]) -> list[Result]:
    order = list(_WORDS)
    return sorted(results, key=lambda result: order.index(_status(result)))


def _groups(results: Sequence[Result]) -> list[_Group]:
    found: list[_Group] = []
    for status, title in _WORDS.items():
        members = tuple(result for result in results if _status(result) == status)
        if members:
            start = sum(len(group.results) for group in found)
            found.append(_Group(status, title, members, start))
    return found


def _sorted_causes(causes: Sequence[Cause]) -> list[Cause]:
    order = ("matches", "ruled out", "not tested")
    return sorted(causes, key=lambda cause: order.index(cause.state.value))


def _headline(report: Report) -> dict[str, Any]:
    """The verdict band: the sentence, what follows from it, and its mood."""
    counts = report.counts
    ran = len(report.results) - counts["skip"]
    failed, warned, broke = counts["fail"], counts["warn"], counts["error"]
    if failed:
        mistakes = [r for r in report.roots if _root_status(report, r.check) is Status.FAIL]
        points = f"They point to {_text.plural(len(mistakes), 'root cause')}." if mistakes else ""
        text, sub, mood = f"{failed} of {ran} checks failed", f"{points} Fix before you train.", ""
    elif broke:
        text = f"{_text.plural(broke, 'check')} broke"
        sub, mood = "The other results hold; these say nothing about the model.", "mid"
    elif report.run.interrupted:
        text, sub, mood = "Interrupted", "These results are partial.", "mid"
    elif not ran:
        text, sub, mood = "Nothing was checked", "Every check was skipped; see the reasons.", "mid"
    elif warned:
        text = f"Ready to train, with {_text.plural(warned, 'warning')}"
        sub, mood = "No check found evidence of a defect.", "mid"
    else:
        text, sub, mood = "Ready to train", "No check found evidence of a defect.", "ok"
    statuses = {"": "fail", "mid": "error" if broke else "warn", "ok": "pass"}
    return {"headline": text, "subline": sub.strip(), "mood": mood, "mood_status": statuses[mood]}


def _root_status(report: Report, id: str) -> Status:
    return next(result.status for result in report.results if result.id == id)
