"""What is printed: nothing a hostile name can do, ASCII where nothing else works, a last line."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from recipe_check.reports.terminal import Style, finding, footer, header, last_line, line
from recipe_check.results import Verdict
from recipe_check.run_report import Report
from recipe_check.values import Status
from tests.reports.sample import HOSTILE, passing_report, report_of, sample_report


def printed(report: Report, style: Style) -> str:
    parts = [header("recipe-check 0.1.0 · torch 2.13.0 · cpu", 0, report.target, style)]
    parts += [line(result, style) for result in report.results]
    parts += ["\n" + finding(result, style) for result in report.results if result.is_finding]
    return "\n".join([*parts, "", footer(report, "report.html", style), ""])


@pytest.mark.parametrize("kind", ["failing", "passing"])
def test_the_golden_file(kind: str, golden: Callable[[str, str], None]) -> None:
    report = sample_report() if kind == "failing" else passing_report()
    golden(f"{kind}-terminal.txt", printed(report, Style()))


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_do_not_reach_the_terminal(text: str, unicode: bool) -> None:
    shown = printed(sample_report(text), Style(unicode=unicode))
    assert not [c for c in shown if c != "\n" and not c.isprintable()]
    assert not [text for text in shown.splitlines() if text.lstrip().startswith("::")]
    assert "##[" not in shown
    assert unicode or shown.isascii()


def test_colour_is_all_that_colour_adds() -> None:
    plain, coloured = (printed(sample_report(), Style(color=c)) for c in (False, True))
    assert "\x1b[" in coloured
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_the_mark_stands_under_the_operation() -> None:
    block = finding(sample_report().results[0], Style()).splitlines()
    source, marks = block[3], block[4]
    start, end = marks.index("^"), marks.rindex("^") + 1
    assert block[1] == "  --> model.py:22:13"
    assert source[start:end] == "x.reshape(-1)"[: end - start]


READY = Verdict(status=Status.PASS, message="fine")
WARNED = Verdict(status=Status.WARN, message="odd")
FAILED = Verdict(status=Status.FAIL, message="bad")
BROKE = Verdict(status=Status.ERROR, message="boom")
SKIPPED = Verdict(status=Status.SKIP, message="no loss")


@pytest.mark.parametrize(
    ("verdicts", "outcome", "expected"),
    [
        ((READY, SKIPPED), "passed", "Ready to train: 1 passed, 1 skipped in 31.9 s"),
        ((READY, WARNED), "passed", "Ready to train, with 1 warning: 1 passed in 31.9 s"),
        ((READY, WARNED), "failed", "Not ready to train: 1 warning, 1 passed in 31.9 s"),
        ((READY, FAILED), "failed", "Not ready to train: 1 failed, 1 passed in 31.9 s"),
        ((READY, FAILED), "passed", "Not ready to train, passed by --fail-on: 1 failed, 1 passed"),
        ((READY, BROKE), "broken", "Undecided: 1 broke, 1 passed in 31.9 s"),
        ((SKIPPED,), "empty", "Nothing was checked: 1 skipped in 31.9 s"),
        (
            (READY, SKIPPED),
            "budget-exceeded",
            "No fault found, but out of time (budget-exceeded): 1 passed, 1 skipped in 31.9 s",
        ),
        (
            (READY, FAILED),
            "budget-exceeded",
            "Not ready to train, passed by --fail-on: 1 failed, 1 passed",
        ),
        ((READY,), "interrupted", "Interrupted: 1 passed in 31.9 s"),
    ],
)
def test_the_last_line_says_whether_it_is_ready(
    verdicts: tuple[Verdict, ...], outcome: str, expected: str
) -> None:
    report = report_of(*verdicts, outcome=outcome)
    assert last_line(report).startswith(expected)
    assert footer(report, "r.html", Style()).splitlines()[-1] == last_line(report)
