"""What is printed while a run goes on: progress on stderr, results on stdout."""

from __future__ import annotations

import os
import sys

import click

from recipe_check.engine import Loaded
from recipe_check.errors import UsageError
from recipe_check.progress import Progress
from recipe_check.reports import terminal
from recipe_check.results import Report, Result
from recipe_check.session import Plan


class Screen:
    """Prints results as they come: progress on stderr, results on stdout."""

    def __init__(self, color: str, *, quiet: bool, verbose: bool) -> None:
        self.style = terminal.Style(color=_wants_color(color), unicode=_knows_unicode())
        self.quiet = quiet
        self.verbose = verbose
        self.problem: OSError | None = None  # nothing is printed after it
        live = sys.stderr.isatty() and not os.environ.get("CI")
        self.progress = Progress(sys.stderr, live=live, unicode=self.style.unicode)

    def header(self, loaded: Loaded, plan: Plan) -> None:
        if not self.quiet:
            torch = dict(loaded.environment).get("torch", "")
            title = f"recipe-check {plan.version} · torch {torch} · {loaded.device}"
            title += "".join(f" · {file}" for _, file in plan.gate.provenance)
            self._print(terminal.header(title, plan.request.seed, loaded.target, self.style))

    def result(self, result: Result) -> None:
        self.progress.clear()
        if not self.quiet:
            self._print(terminal.line(result, self.style))

    def durations(self, report: Report, count: int) -> None:
        """The slowest checks, on request."""
        if count > 0:
            self._print("\n" + terminal.durations(report, count, self.style))

    def output(self, text: str) -> None:
        """What the user's code printed, on request."""
        if self.verbose and text.strip():
            click.echo(terminal.clean(f"\n--- output of the target ---\n{text.rstrip()}"), err=True)

    def footer(self, report: Report, html: str | None) -> None:
        for result in report.results:
            if result.is_finding:
                self._print("\n" + terminal.finding(result, self.style))
                if self.verbose and result.traceback:
                    self._print(terminal.clean(result.traceback))
        self._print("\n" + terminal.footer(report, html, self.style, cost=not self.quiet))

    def plain(self, text: str) -> None:
        """As it is, for machines."""
        self._print(text)

    def check(self) -> None:
        """Raises UsageError where standard output could not be written; that a reader such as
        `head` has seen enough is no error."""
        if self.problem is not None and not isinstance(self.problem, BrokenPipeError):
            said = self.problem.strerror
            raise UsageError(f"cannot write to standard output: {said}", "free some space")

    def _print(self, text: str) -> None:
        """A full disk or a reader that has left must not cost the reports."""
        if self.problem is not None:
            return
        encoding = sys.stdout.encoding or "utf-8"
        try:
            click.echo(text.encode(encoding, errors="replace").decode(encoding), color=True)
        except OSError as error:
            self.problem = error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wants_color(when: str) -> bool:
    if when != "auto":
        return when == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def _knows_unicode() -> bool:
    return "utf" in (sys.stdout.encoding or "").lower()
