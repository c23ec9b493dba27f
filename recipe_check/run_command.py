"""`recipe-check run`: from parsed options to printed results and written reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from recipe_check import __version__
from recipe_check.engine import Engine, Job, Loaded
from recipe_check.errors import UsageError
from recipe_check.files import check_writable, write_whole
from recipe_check.plugins import build, check_classes, report_writers, select, suggestion
from recipe_check.progress import Progress
from recipe_check.reports import terminal
from recipe_check.request import CheckRequest, LoadRequest
from recipe_check.results import Report, Result
from recipe_check.session import Plan, perform


def run_target(given: Mapping[str, Any], command: tuple[str, ...]) -> int:
    """Runs what was asked for; returns the exit code. Raises RecipeCheckError."""
    wanted = {
        "json": given["json_file"],
        "html": None if given["no_html"] else given["html_file"],
        "sarif": given["sarif_file"],
        "junit": given["junit_file"],
        "markdown": given["summary_file"],
    }
    outputs = {name: file for name, file in wanted.items() if file}
    for file in outputs.values():
        check_writable(Path(file))
    plan = _plan(given, command)
    screen = Screen(given["color"], quiet=given["quiet"], verbose=given["verbose"])
    engine = Engine(
        plan.request,
        plugins=tuple(given["plugins"]),
        budget=plan.budget,
        check_timeout=plan.check_timeout,
        on_tick=screen.progress.tick,
    )
    with engine, Drawing(enabled="html" in outputs) as drawing:
        engine.on_result = drawing.also(screen.result)
        try:
            loaded = engine.load()
            broken = engine.rehearse()
        finally:
            screen.progress.clear()
        screen.header(loaded, plan)
        report = perform(plan, engine, loaded, broken)
        screen.progress.clear()
        screen.output(engine.output())
    write_reports(report, outputs)
    screen.footer(report, outputs.get("html"))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        click.echo(report_writers()["github"].render(report))
    return report.exit_code


def _plan(given: Mapping[str, Any], command: tuple[str, ...]) -> Plan:
    kinds = check_classes(given["plugins"])
    chosen = select(kinds, _words(given["only"]), _words(given["skip"]), given["preset"])
    if not chosen:
        raise UsageError("no check is left to run", "see  recipe-check list")
    request: LoadRequest = given["request"]
    return Plan(
        request=request,
        jobs=tuple(
            Job(build(kinds[id], {}), CheckRequest(id=id, seed=request.seed)) for id in chosen
        ),
        budget=given["budget"],
        check_timeout=given["check_timeout"],
        fail_on=given["fail_on"],
        maxfail=1 if given["stop_first"] else given["maxfail"],
        command=command,
        version=__version__,
    )


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def write_reports(report: Report, outputs: Mapping[str, str]) -> None:
    """Writes each format to its file; raises UsageError for an unknown format or bad path."""
    writers = report_writers() if outputs else {}
    for name, file in outputs.items():
        if name not in writers:
            raise UsageError(f"no report format {name!r}", suggestion(name, writers))
        write_whole(Path(file), writers[name].render(report))


class Drawing:
    """Imports the plotting library and draws plots on a thread while the worker is busy."""

    def __init__(self, *, enabled: bool) -> None:
        self.pool = ThreadPoolExecutor(1) if enabled else None

    def __enter__(self) -> Drawing:
        if self.pool is not None:
            self.pool.submit(self._draw, ())
        return self

    def __exit__(self, *_: Any) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def also(self, show: Callable[[Result], None]) -> Callable[[Result], None]:
        """`show`, and draw as well."""

        def act(result: Result) -> None:
            show(result)
            if self.pool is not None:
                self.pool.submit(self._draw, (result,))

        return act

    @staticmethod
    def _draw(results: Iterable[Result]) -> None:
        from recipe_check.reports.html import draw_ahead

        draw_ahead(results)


class Screen:
    """Prints results as they come: progress on stderr, results on stdout."""

    def __init__(self, color: str, *, quiet: bool, verbose: bool) -> None:
        self.style = terminal.Style(color=_wants_color(color), unicode=_knows_unicode())
        self.quiet = quiet
        self.verbose = verbose
        live = sys.stderr.isatty() and not os.environ.get("CI")
        self.progress = Progress(sys.stderr, live=live, unicode=self.style.unicode)

    def header(self, loaded: Loaded, plan: Plan) -> None:
        if not self.quiet:
            torch = dict(loaded.environment).get("torch", "")
            title = f"recipe-check {plan.version} · torch {torch} · {loaded.device}"
            self._print(terminal.header(title, plan.request.seed, loaded.target, self.style))

    def result(self, result: Result) -> None:
        self.progress.clear()
        if not self.quiet:
            self._print(terminal.line(result, self.style))

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
        self._print("\n" + terminal.footer(report, html, self.style))

    def _print(self, text: str) -> None:
        encoding = sys.stdout.encoding or "utf-8"
        click.echo(text.encode(encoding, errors="replace").decode(encoding), color=True)


def _wants_color(when: str) -> bool:
    if when != "auto":
        return when == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def _knows_unicode() -> bool:
    return "utf" in (sys.stdout.encoding or "").lower()
