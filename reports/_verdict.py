"""What a report says of the run as a whole: order, groups, headline and last line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from recipe_check.results import Result
from recipe_check.run_report import Report
from recipe_check.values import Status

from ._text import one_line, plural, seconds

# In the order in which a reader wants to see them.
WORDS = {
    "fail": "Failed",
    "error": "Broke",
    "warn": "Warning",
    "pass": "Passed",
    "suppressed": "Suppressed",
    "skip": "Skipped",
}


@dataclass(frozen=True)
class Group:
    """Results of one kind, and how many stand before it."""

    status: str
    title: str
    results: tuple[Result, ...]
    start: int

    @property
    def word(self) -> str:
        """`failed`, `warnings`: what stands behind the number of them."""
        return counted(len(self.results), self.status).split(" ", 1)[1]


@dataclass(frozen=True)
class Headline:
    """The sentence, what follows from it, and the status that gives it its colour."""

    text: str
    then: str
    status: str


def counted(count: int, status: str) -> str:
    """`1 failed`, `2 warnings`."""
    word = WORDS[status].lower()
    return plural(count, word) if status == "warn" else f"{count} {word}"


def shown_status(result: Result) -> str:
    """The status by which a result is grouped; a suppressed one stands apart."""
    return "suppressed" if result.suppressed else result.status.value


def ordered(results: Sequence[Result]) -> list[Result]:
    order = list(WORDS)
    return sorted(results, key=lambda result: order.index(shown_status(result)))


def groups(results: Sequence[Result]) -> list[Group]:
    found: list[Group] = []
    for status, title in WORDS.items():
        members = tuple(result for result in results if shown_status(result) == status)
        if members:
            start = sum(len(group.results) for group in found)
            found.append(Group(status, title, members, start))
    return found


def headline(report: Report) -> Headline:
    counts = report.counts
    ran = len(report.results) - counts["skip"]
    if counts["fail"]:
        return Headline(f"{counts['fail']} of {ran} checks failed", _advice(report), "fail")
    if report.run.interrupted:
        return Headline("Interrupted", "These results are partial.", "warn")
    if counts["error"]:
        return Headline(f"{plural(counts['error'], 'check')} broke", _of_broken(report), "error")
    if not ran:
        return Headline("Nothing was checked", "Every check was skipped; see the reasons.", "warn")
    if report.outcome == "stale":
        return Headline("Ready to train, but suppressions are stale", report.notes[0], "warn")
    if report.outcome == "budget-exceeded":
        return Headline("No fault found, but out of time", report.notes[-1], "warn")
    then = "No check found evidence of a defect."
    if counts["warn"]:
        return Headline(f"Ready to train, with {plural(counts['warn'], 'warning')}", then, "warn")
    return Headline("Ready to train", then, "pass")


def _of_broken(report: Report) -> str:
    """Where all stopped, if it was one place; else what that means for the other results."""
    places = {
        r.verdict.location for r in report.results if r.is_finding and r.status is Status.ERROR
    }
    place = places.pop() if len(places) == 1 else None
    if place is None:
        return "The other results hold; a broken check says nothing about the model."
    return f"Your code raised at {place} while they ran. The other results hold."


def _advice(report: Report) -> str:
    """How many root causes stand behind the failures."""
    status = {result.id: result.status for result in report.results}
    failing = sum(status.get(root.check) is Status.FAIL for root in report.roots)
    if not failing:
        return "Fix them before you train."
    them = "it" if failing == 1 else "them"
    return f"They point to {plural(failing, 'root cause')}. Fix {them} before you train."


def last_line(report: Report) -> str:
    """The one line that says whether it is ready to train."""
    counts = report.counts
    warned = report.outcome == "passed" and counts["warn"] and not counts["fail"]
    parts = [
        counted(counts[status], status)
        for status in WORDS
        if counts[status] and not (status == "warn" and warned)
    ]
    tail = f"{', '.join(parts)} in {seconds(report.run.seconds)}".removeprefix(" ")
    return f"{_readiness(report)}: {tail}"


def _readiness(report: Report) -> str:
    counts = report.counts
    if report.outcome == "interrupted":
        return "Interrupted"
    if report.outcome == "empty":
        return "Nothing was checked"
    if report.outcome == "stale":
        return "Ready to train, but suppressions are stale"
    if report.outcome not in ("passed", "budget-exceeded"):
        found = counts["fail"] or report.outcome == "failed"
        return "Not ready to train" if found else "Undecided"
    if counts["fail"]:
        return "Not ready to train, passed by --fail-on"
    if report.outcome == "budget-exceeded":
        return "No fault found, but out of time (budget-exceeded)"
    if counts["warn"]:
        return f"Ready to train, with {plural(counts['warn'], 'warning')}"
    return "Ready to train"


def measured(result: Result) -> str:
    """`24 of 156 pairs leak, expected 0`, or the message where nothing was measured."""
    verdict = result.verdict
    if not verdict.measured:
        return one_line(verdict.message)
    expected = f", expected {verdict.expected}" if verdict.expected else ""
    return one_line(verdict.measured + expected)


def rerun(result: Result) -> str:
    """The command that runs this check alone, as one would type it."""
    return one_line(shlex.join(result.reproduce))
