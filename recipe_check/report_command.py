"""`recipe-check report`: a saved result in other formats."""

from __future__ import annotations

from collections.abc import Mapping

import click

from recipe_check.errors import UsageError
from recipe_check.no_source import without_source
from recipe_check.outputs import Problems, rendered, write_reports
from recipe_check.saved import read_report


def write_again(
    result: str, outputs: Mapping[str, str], form: str | None, *, source: bool = True
) -> None:
    """Writes the result in a file to a file for each format, and prints it as `form`. Raises
    UsageError where nothing is asked for or something cannot be read or written."""
    if not outputs and form is None:
        raise UsageError("nothing to write", "say what:  --html report.html, or  --format concise")
    saved, problems = read_report(result), Problems()
    saved = saved if source else without_source(saved)
    write_reports(saved, outputs, problems)
    if form is not None:
        with problems.attempt(f"--format {form}"):
            click.echo(rendered(saved, form).rstrip("\n"))
    problems.tell()
