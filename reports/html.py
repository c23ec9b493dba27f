"""The report a person reads: one file, no script, no request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any, ClassVar

from recipe_check.results import Result
from recipe_check.run_report import Report

from . import _costs, _dates, _groups, _plots, _roots, _stages, _tables, _verdict
from ._filters import Ours, environment, source
from ._limits import MOST_BYTES, ROOMS, Room

_CSS_CLASS = {"fail": "fail", "warn": "warn", "pass": "pass", "error": "err",
              "suppressed": "supp", "skip": "skipd"}  # fmt: skip


class HtmlReport:
    """Self-contained HTML of at most a megabyte; the same report gives the same bytes."""

    suffix: ClassVar[str] = ".html"

    def render(self, report: Report) -> str:
        """Everything where it fits, else with fewer pictures, rows and words."""
        text = ""
        for room in ROOMS:
            text = _page(report, room)
            if len(text.encode("utf-8", "replace")) <= MOST_BYTES:
                break
        return text


def draw_ahead(results: Iterable[Result]) -> None:
    """Draws the pictures of results while later checks still run; `render` finds them drawn."""
    for result in results:
        for detail in result.verdict.details:
            if _plots.is_picture(detail):
                _plots.svg(detail)


def _page(report: Report, room: Room) -> str:
    style = source("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        environment(room)
        .get_template("report.html.j2")
        .render(
            report=report,
            room=room,
            style=Ours(style),
            style_hash=Ours(digest),
            css=_CSS_CLASS,
            words=_verdict.WORDS,
            headline=_verdict.headline(report),
            statuses={r.id: _verdict.shown_status(r) for r in report.results},
            stages=_stages.stages(report.results),
            layer_table=_tables.layer_table(report.layers),
            cost=_costs.cost_words(report.run),
            tally=_verdict.last_line(report),
            until=_dates.suggested_end(report.run.started),
            **_kinds(report),
        )
    )


def _kinds(report: Report) -> dict[str, Any]:
    """Results by what the page does with them: cards, a panel, folded lines."""
    groups = _verdict.groups(report.results)
    folded = [group for group in groups if group.status in ("pass", "skip")]
    suppressed = [result for result in report.results if result.suppressed]
    findings, firsts = _groups.shown(report.results), _roots.firsts(report)
    return {"groups": groups, "folded": folded, "suppressed": suppressed, "findings": findings,
            "firsts": firsts}  # fmt: skip
