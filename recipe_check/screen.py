"""What is printed while a run goes on: progress on stderr, results on stdout."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable

import click

from recipe_check.ci import fenced, on_github
from recipe_check.errors import UsageError
from recipe_check.jobs import Loaded
from recipe_check.no_source import without_paths
from recipe_check.plugins import report_writers
from recipe_check.progress import Progress
from recipe_check.reports import terminal
from recipe_check.results import Result
from recipe_check.run_report import Report
from recipe_check.session import Plan

_TEXTS = ("full", "quiet")  # what a person reads; any other format is printed whole at the end
_ALONE = ("json", "markdown", "github")  # nothing else may stand on standard output


class Screen:
    """Prints results as they come (`full`), or only at the end: findings (`quiet`), or the report
    in a format for machines. Progress goes to stderr."""

    def __init__(self, color: str, form: str, *, verbose: bool, source: bool = True) -> None:
        self.hide: Callable[[str], str] = str if source else without_paths
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        self.style = terminal.Style(_wants_color(color), _knows_unicode(), columns)
        self.form = form
        self.verbose = verbose
        self.problem: OSError | None = None  # nothing is printed after it
        live = sys.stderr.isatty() and not os.environ.get("CI")
        self.progress = Progress(sys.stderr, live=live, unicode=self.style.unicode)

    def header(self, loaded: Loaded, plan: Plan) -> None:
        if self.form == "full":
            torch = dict(loaded.environment).get("torch", "")
            title = f"recipe-check {plan.version} · torch {torch} · {loaded.device}"
            title += "".join(f" · {file}" for _, file in plan.gate.provenance)
            title = self.hide(title)
            self._print(terminal.header(title, plan.request.seed, loaded.target, self.style))

    def result(self, result: Result) -> None:
        self.progress.clear()
        if self.form == "full":
            self._print(terminal.line(result, self.style))

    def durations(self, report: Report, count: int) -> None:
        """The slowest checks, on request."""
        if count > 0:
            text = "\n" + terminal.durations(report, count, self.style)
            if self.form in _TEXTS:
                self._print(text)
            else:
                click.echo(text, err=True)

    def output(self, text: str) -> None:
        """What the user's code printed, on request."""
        if self.verbose and text.strip():
            shown = terminal.clean(f"--- output of the target ---\n{text.rstrip()}")
            click.echo("\n" + fenced(self.hide(shown)), err=True)

    def end(self, report: Report, html: str | None) -> None:
        """The findings and whether it is ready, or the report in the format asked for; after a
        text GitHub's annotations. Raises UsageError where none of it could be written."""
        if self.form in _TEXTS:
            self._footer(report, html)
        else:
            self._print(report_writers()[self.form].render(report).rstrip("\n"))
        if on_github() and self.form not in _ALONE:
            self._print(report_writers()["github"].render(report))
        self._check()

    def _footer(self, report: Report, html: str | None) -> None:
        for result, block in terminal.findings(report.results, self.style):
            self._print("\n" + block)
            if self.verbose and result.traceback:
                self._print(fenced(terminal.clean(result.traceback)))
        cost, html = self.form == "full", self.hide(html) if html else None
        self._print("\n" + terminal.footer(report, html, self.style, cost=cost))

    def _check(self) -> None:
        """That a reader such as `head` has seen enough is no error."""
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
