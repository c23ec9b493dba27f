"""`recipe-check run`: from parsed options to printed results and written reports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from recipe_check import last
from recipe_check.baseline import check_reason, write_baseline
from recipe_check.check_settings import check_settings
from recipe_check.drawing import Drawing
from recipe_check.engine import Engine
from recipe_check.errors import UsageError
from recipe_check.files import check_writable, write_whole
from recipe_check.planning import memory_key, plan_run
from recipe_check.plugins import check_classes, report_writers, suggestion
from recipe_check.results import Report
from recipe_check.screen import Screen
from recipe_check.session import Plan, perform


def run_target(given: Mapping[str, Any], command: tuple[str, ...]) -> int:
    """Runs what was asked for; returns the exit code. Raises RecipeCheckError."""
    outputs = _outputs(given)
    kinds = check_classes(given["plugins"])
    settings = check_settings(given["choice"].config, kinds)
    plan = plan_run(given, command, kinds, settings)
    screen = Screen(given["color"], quiet=given["quiet"], verbose=given["verbose"])
    engine = Engine(
        plan.request,
        plugins=tuple(given["plugins"]),
        budget=plan.budget,
        check_timeout=plan.check_timeout,
        on_tick=screen.progress.tick,
        adjust=settings.adjust,
    )
    with engine, Drawing(enabled="html" in outputs) as drawing:
        engine.on_result = drawing.also(screen.result)
        report = _performed(plan, engine, screen, given["profile_file"])
    write_reports(report, outputs)
    if given["new_baseline"]:
        write_baseline(report, given["new_baseline"], given["reason"])
    last.remember(memory_key(plan.request), report.results)
    screen.durations(report, given["durations"])
    screen.footer(report, outputs.get("html"))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        click.echo(report_writers()["github"].render(report))
    return report.exit_code


def _performed(plan: Plan, engine: Engine, screen: Screen, profile: str | None) -> Report:
    """Loads the target and runs the plan, with progress and results on the screen, and a trace of
    torch in the file `profile`."""
    try:
        loaded = engine.load()
        broken = engine.rehearse()
    finally:
        screen.progress.clear()
    screen.header(loaded, plan)
    watching = engine.profiled(Path(profile)) if profile else None
    report = perform(plan, engine, loaded, broken, watching)
    if profile and not Path(profile).exists():
        click.echo(f"note: no {profile}: the worker process did not write it", err=True)
    screen.progress.clear()
    screen.output(engine.output())
    return report


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
    check_reason(given["new_baseline"], given["reason"])
    for file in (*outputs.values(), given["new_baseline"], given["profile_file"]):
        if file:
            check_writable(Path(file))
    return outputs


def write_reports(report: Report, outputs: Mapping[str, str]) -> None:
    """Writes each format to its file; raises UsageError for an unknown format or bad path."""
    writers = report_writers() if outputs else {}
    for name, file in outputs.items():
        if name not in writers:
            raise UsageError(f"no report format {name!r}", suggestion(name, writers))
        write_whole(Path(file), writers[name].render(report))
