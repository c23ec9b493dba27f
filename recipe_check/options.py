"""The options of `recipe-check run`, in the groups of its help. Commands share the first."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from recipe_check.api import PRESETS
from recipe_check.preset_costs import stated

DEFAULT_HTML = "recipe-check-report.html"
_POSITIVE = click.FloatRange(min=0, min_open=True)
FORMATS = ("full", "concise", "json", "github", "markdown", "quiet")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(*decorators: Decorator) -> Decorator:
    """One decorator for many, the first on top."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _from_file(ctx: click.Context, _: click.Parameter, target: str | None) -> str | None:
    """Reads the configuration file: its values become the defaults of the other options."""
    from recipe_check.choice import choose
    from recipe_check.complaints import refuse_misspelt

    if ctx.resilient_parsing:  # the shell completes a line; nothing is run
        return target
    ctx.obj = choose(target and os.path.expanduser(target))
    if ctx.parent is not None and isinstance(ctx.parent.command, click.Group):
        refuse_misspelt(ctx.obj.name, ctx.obj.settings, ctx.parent.command.commands)
    ctx.default_map = ctx.obj.defaults()
    return str(ctx.obj.target)


loading_options = together(
    click.argument("target", required=False, is_eager=True, callback=_from_file),
    click.argument("script_args", nargs=-1, type=click.UNPROCESSED),
    click.option("--model", metavar="OBJ", help="nn.Module, class or factory in TARGET."),
    click.option("--data", metavar="OBJ", help="Iterable of batches, or a factory."),
    click.option("--loss", metavar="OBJ", help="Callable (output, target) -> scalar."),
    click.option("--optimizer", metavar="OBJ", help="Optimizer, or (parameters) -> optimizer."),
    click.option("--capture", is_flag=True,
                 help="Run TARGET as a script until its first optimizer.step(); check what it "
                 "trains. Its arguments stand after --."),
    click.option("--kwarg", "kwargs", multiple=True, metavar="NAME=VALUE",
                 help="Argument for the model factory (repeatable, JSON value)."),
    click.option("--seed", default=0, show_default=True, help="Seed of everything random."),
    click.option("--repeat", default=1, show_default=True, metavar="N",
                 type=click.IntRange(min=1),
                 help="Seeds for checks that chance touches; they fail only when all agree."),
    click.option("--device", default="auto", show_default=True, metavar="DEV",
                 help="auto, cpu, cuda or cuda:1."),
)  # fmt: skip

choosing_options = together(
    click.option("--only", metavar="CHECKS", help="Comma-separated check ids, groups or stages."),
    click.option("--skip", metavar="CHECKS", help="Likewise, to leave out."),
    click.option("--preset", type=click.Choice(PRESETS), default="default",
                 show_default=True,
                 help=f"quick trains nothing. Passes as training steps, at most: {stated()}."),
    click.option("--lf", "last_failed", is_flag=True, help="Only checks that failed last time."),
    click.option("--budget", default=120.0, show_default=True, metavar="SECONDS", type=_POSITIVE,
                 help="Start no check after this long."),
    click.option("--check-timeout", default=60.0, show_default=True, metavar="S", type=_POSITIVE,
                 help="Per check."),
    click.option("--memory-limit", default=0.0, show_default=True, metavar="GB",
                 type=click.FloatRange(min=0),
                 help="What the worker process may allocate (Linux); 0 is no limit."),
    click.option("--devices", metavar="LIST",
                 help="Share the checks between workers on these devices: cuda:0,cuda:1."),
    click.option("-x", "stop_first", is_flag=True, help="Stop at the first failure."),
    click.option("--maxfail", default=0, metavar="N", type=click.IntRange(min=0),
                 help="Stop after N failures."),
    click.option("--plugin", "plugins", multiple=True, metavar="FILE",
                 help="A Python file with more checks (repeatable)."),
)  # fmt: skip

gate_options = together(
    click.option("--fail-on", type=click.Choice(["error", "warning", "never"]), default="error",
                 show_default=True, help="What makes the exit code 1."),
    click.option("--baseline", metavar="FILE", help="Fail only on findings that are not in FILE."),
    click.option("--write-baseline", "new_baseline", metavar="FILE",
                 help="Write the findings of this run for --baseline; needs --reason."),
    click.option("--reason", metavar="TEXT", help="Why the findings of the baseline are accepted."),
    click.option("--strict-suppressions", is_flag=True,
                 help="Fail on suppressions that are unused or expired."),
)  # fmt: skip

output_options = together(
    click.option("--format", "form", type=click.Choice(FORMATS), default="full",
                 show_default=True,
                 help="What is printed. Under GitHub Actions annotations follow a text."),
    click.option("--json", "json_file", metavar="FILE", help="Write the result as JSON."),
    click.option("--html", "html_file", metavar="FILE", default=DEFAULT_HTML, show_default=True,
                 help="Write the report."),
    click.option("--sarif", "sarif_file", metavar="FILE", help="Write SARIF 2.1.0."),
    click.option("--junit", "junit_file", metavar="FILE", help="Write JUnit XML."),
    click.option("--summary", "summary_file", metavar="FILE", envvar="GITHUB_STEP_SUMMARY",
                 help="Write a Markdown summary.  [default: $GITHUB_STEP_SUMMARY]"),
    click.option("--no-html", is_flag=True, help="Write no report."),
    click.option("--open", "open_html", is_flag=True, help="Open the report in a browser."),
    click.option("--no-source", is_flag=True,
                 help="Leave source lines and absolute paths out of everything that is written."),
    click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto",
                 show_default=True, help="NO_COLOR and FORCE_COLOR are honoured."),
    click.option("--durations", default=0, metavar="N", type=click.IntRange(min=0),
                 help="Print the N slowest checks with their passes."),
    click.option("--profile", "profile_file", metavar="FILE",
                 help="Write a Chrome trace of the checks (.json or .json.gz); slows them down."),
    click.option("-v", "--verbose", is_flag=True,
                 help="Also tracebacks and what your code printed."),
    click.option("-q", "--quiet", is_flag=True,
                 help="Only findings and the last line, as --format quiet."),
)  # fmt: skip
