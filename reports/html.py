"""The report a person reads: one file, no script, no request."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import jinja2

from recipe_check.results import Cause, CauseState, Location, Report, Result

from . import _costs, _plots, _tables, _text, _verdict
from ._limits import left_out

_CSS_CLASS = {"fail": "fail", "warn": "warn", "pass": "pass", "error": "err",
              "suppressed": "supp", "skip": "skipd"}  # fmt: skip
_MOST_ROWS = 200


class HtmlReport:
    """Self-contained HTML; the same report gives the same bytes."""

    suffix: ClassVar[str] = ".html"

    def render(self, report: Report) -> str:
        environment = _environment()
        style = _source("report.css")
        ordered = _verdict.ordered(report.results)
        return environment.get_template("report.html.j2").render(
            report=report,
            style=_Ours(style),
            style_hash=_Ours(base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()),
            css=_CSS_CLASS,
            words=_verdict.WORDS,
            headline=_verdict.headline(report),
            groups=_verdict.groups(report.results),
            statuses={r.id: _verdict.shown_status(r) for r in report.results},
            findings=[r for r in ordered if r.is_finding],
            others=[r for r in ordered if not r.is_finding],
            layer_table=_tables.layer_table(report.layers),
            most_rows=_MOST_ROWS,
            cost=_costs.cost_words(report.run),
            tally=_verdict.last_line(report),
        )


def draw_ahead(results: Iterable[Result]) -> None:
    """Draws the pictures of results while later checks still run; `render` finds them drawn."""
    for result in results:
        for detail in result.verdict.details:
            if _plots.is_picture(detail):
                _plots.svg(detail)


class _Ours(str):
    """Text that we made ourselves, style sheet and pictures: neither cut nor escaped."""

    def __html__(self) -> str:
        return str(self)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recipe_check.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "long": lambda value: _Long(_text.clean(value)),
        "sentence": _sentence,
        "number": _text.number,
        "seconds": _text.seconds,
        "command": lambda words: _Long(_text.clean(shlex.join(words))),
        "anchor": lambda id: re.sub(r"[^A-Za-z0-9-]", "_", id)[:100],
        "svg": lambda detail: _Ours(_plots.svg(detail)),
        "is_picture": _plots.is_picture,
        "as_table": _tables.as_table,
        "numeric": _tables.numeric,
        "alt": _tables.alt,
        "left_out": left_out,
        "sort_causes": _sorted_causes,
        "source_parts": _source_parts,
    }
    return environment


class _Long(str):
    """Cleaned text that may be longer than a name: a traceback, a command."""


def _finalize(value: Any) -> Any:
    """Every value that a template prints is made safe to show, whoever wrote the template."""
    if hasattr(value, "__html__") or isinstance(value, _Long):
        return value
    return _text.short(str(value))


def _source(name: str) -> str:
    loader = jinja2.PackageLoader("recipe_check.reports", "templates")
    return loader.get_source(jinja2.Environment(), name)[0]


def _sentence(text: str) -> str:
    """A capital and a full stop, but for a text that begins with a name such as `fc1`."""
    text = _text.short(text).strip()
    first = text.split(maxsplit=1)[0] if text else ""
    if first.isalpha() and first.islower():
        text = text[0].upper() + text[1:]
    return text if not text or text[-1] in ".!?:;…" else f"{text}."


def _sorted_causes(causes: Sequence[Cause]) -> list[Cause]:
    order = list(CauseState)
    return sorted(causes, key=lambda cause: order.index(cause.state))


def _source_parts(location: Location) -> tuple[str, str, str]:
    """The source line without its indent: before, at and after the marked columns."""
    source = location.source.rstrip()
    indent = len(source) - len(source.lstrip())
    if location.column is None or location.end_column is None:
        return source[indent:], "", ""
    start = max(location.column - 1, indent)
    end = max(location.end_column - 1, start)
    return source[indent:start], source[start:end], source[end:]
