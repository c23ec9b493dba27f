"""`recipe-check run`: from parsed options to printed results and written reports."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from recipe_check import last
from recipe_check.baseline import check_reason, write_baseline
from recipe_check.check_settings import check_settings
from recipe_check.checkout import with_checkout
from recipe_check.drawing import Drawing
from recipe_check.engine import Engine
from recipe_check.errors import UsageError
from recipe_check.files import check_writable, write_whole
from recipe_check.journal import Journal
from recipe_check.memory import check_limit
from recipe_check.no_source import errors_without_source, without_source
from recipe_check.outputs import Problems, write_reports
from recipe_check.planning import memory_key, plan_run
from recipe_check.plugins import check_classes
from recipe_check.pool import Pool, split_devices
from recipe_check.ranked_engine import RankedEngine
from recipe_check.run_report import Report
from recipe_check.screen import Screen
from recipe_check.session import Plan, perform


def run_target(given: Mapping[str, Any], command: tuple[str, ...]) -> int:
    """Runs what was asked for; returns the exit code. Raises RecipeCheckError."""
    with errors_without_source(enabled=given["no_source"]):
        return _run(given, command)


def _run(given: Mapping[str, Any], command: tuple[str, ...]) -> int:
    outputs = _outputs(given)
    check_limit(given["memory_limit"])
    kinds = check_classes(given["plugins"])
    settings = check_settings(given["choice"].config, kinds)
    plan = plan_run(given, command, kinds, settings)
    source = not given["no_source"]
    form = "quiet" if given["quiet"] and given["form"] == "full" else given["form"]
    screen = Screen(given["color"], form, verbose=given["verbose"], source=source)
    engine = _engine(given, plan)
    engine.on_tick = screen.progress.tick
    engine.adjust = settings.adjust if source else lambda r: without_source(settings.adjust(r))
    with Journal() as journal:
        with engine, Drawing(enabled="html" in outputs) as drawing:
            engine.on_result = journal.also(drawing.also(screen.result))
            report = _performed(plan, engine, screen, given["profile_file"], source=source)
        _finish(report, outputs, given, screen, engine.trace)
    last.remember(memory_key(plan.request), report.results)
    return report.exit_code


def _engine(given: Mapping[str, Any], plan: Plan) -> Engine:
    """For one process, for one on each device, or where the ranks have a crew, for all of them."""
    options: dict[str, Any] = {
        "plugins": tuple(given["plugins"]),
        "budget": plan.budget,
        "check_timeout": plan.check_timeout,
        "memory_limit": given["memory_limit"],
    }
    devices = split_devices(given["devices"])
    if devices:
        _refuse_with_devices(given)
        return Pool(plan.request, **options, devices=devices)
    if given["crew"] is None:
        return Engine(plan.request, **options)
    return RankedEngine(plan.request, **options, crew=given["crew"], jobs=plan.jobs)


def _refuse_with_devices(given: Mapping[str, Any]) -> None:
    others = {"--device": given["request"].device != "auto", "--profile": given["profile_file"],
              "torchrun": given["crew"] is not None}  # fmt: skip
    for name, is_there in others.items():
        if is_there:
            raise UsageError(f"--devices and {name} do not go together", f"leave out {name}")


def _performed(
    plan: Plan, engine: Engine, screen: Screen, profile: str | None, *, source: bool
) -> Report:
    """Loads the target and runs the plan, with progress and results on the screen, and a trace of
    torch for the file `profile`; the report with or without the user's source."""
    try:
        loaded = engine.load()
        broken = engine.rehearse()
    finally:
        screen.progress.clear()
    shown = loaded if source else replace(loaded, target=without_source(loaded.target))
    screen.header(shown, plan)
    watching = engine.profiled(profile) if profile else None
    report = perform(plan, engine, loaded, broken, watching)
    report = with_checkout(report, plan.request.target)
    screen.progress.clear()
    screen.output(engine.output())
    return report if source else without_source(report)


def _finish(
    report: Report,
    outputs: Mapping[str, str],
    given: Mapping[str, Any],
    screen: Screen,
    trace: bytes,
) -> None:
    """Writes and prints all that can be; then raises what went wrong."""
    problems = Problems()
    write_reports(report, outputs, problems)
    if given["new_baseline"]:
        with problems.attempt(given["new_baseline"]):
            write_baseline(report, given["new_baseline"], given["reason"])
    if given["profile_file"]:
        with problems.attempt(given["profile_file"]):
            _write_profile(trace, Path(given["profile_file"]))
    with problems.attempt("what is printed"):
        screen.durations(report, given["durations"])
        screen.end(report, None if problems.found else outputs.get("html"))
    problems.tell()
    if given["open_html"]:
        _open(Path(outputs["html"]))


def _open(file: Path) -> None:
    if not webbrowser.open(file.resolve().as_uri()):
        click.echo("note: no browser was found to open the report with", err=True)


def _write_profile(trace: bytes, file: Path) -> None:
    """What another run has written there is not taken for the trace of this one."""
    if trace:
        write_whole(file, trace)
        return
    if file.is_file():
        file.unlink()
    click.echo(f"note: no {file}: the worker process did not write it", err=True)


def _outputs(given: Mapping[str, Any]) -> dict[str, str]:
    """The file of each format that is asked for; raises UsageError where one is unwritable."""
    wanted = {
        "json": given["json_file"],
        "html": None if given["no_html"] else given["html_file"],
        "sarif": given["sarif_file"],
        "junit": given["junit_file"],
        "markdown": given["summary_file"],
    }
    outputs = {name: file for name, file in wanted.items() if file}
    if given["open_html"] and "html" not in outputs:
        raise UsageError("--open needs the report", "leave out --no-html")
    check_reason(given["new_baseline"], given["reason"])
    for file in (*outputs.values(), given["new_baseline"], given["profile_file"]):
        if file:
            check_writable(Path(file))
    return outputs
