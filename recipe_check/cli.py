"""The command line. Nothing here imports torch: that happens in the worker process."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recipe_check import __version__
from recipe_check.errors import RecipeCheckError, UsageError

if TYPE_CHECKING:
    from recipe_check.request import LoadRequest
    from recipe_check.results import Report

DEFAULT_HTML = "recipe-check-report.html"


class _Group(click.Group):
    """`recipe-check model.py` is short for `recipe-check run model.py`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    options_metavar="[OPTIONS]",
    subcommand_metavar="COMMAND | TARGET",
)
@click.version_option(__version__, prog_name="recipe-check")
def cli() -> None:
    """Check a PyTorch training setup before you train it.

    recipe-check model.py          is short for  recipe-check run model.py
    """


def _loading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What to load: shared by `run` and `show`."""
    options = (
        click.argument("target"),
        click.argument("script_args", nargs=-1, type=click.UNPROCESSED),
        click.option("--model", metavar="OBJ", help="nn.Module, class or factory in TARGET."),
        click.option("--data", metavar="OBJ", help="Iterable of batches, or a factory."),
        click.option("--loss", metavar="OBJ", help="Callable (output, target) -> scalar."),
        click.option("--optimizer", metavar="OBJ", help="Optimizer, or (parameters) -> optimizer."),
        click.option("--kwarg", "kwargs", multiple=True, metavar="NAME=VALUE",
                     help="Argument for the model factory (repeatable, JSON value)."),
        click.option("--seed", default=0, show_default=True, help="Seed of everything random."),
        click.option("--device", default="auto", show_default=True, metavar="DEV",
                     help="auto, cpu, cuda, cuda:1 or mps."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@cli.command()
@_loading_options
@click.option("--only", metavar="CHECKS", help="Comma-separated check ids, groups or stages.")
@click.option("--skip", metavar="CHECKS", help="Likewise, to leave out.")
@click.option(
    "--preset",
    type=click.Choice(["quick", "default"]),
    default="default",
    show_default=True,
    help="quick trains nothing.",
)
@click.option(
    "--budget",
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Start no check after this long.",
)
@click.option("--check-timeout", default=60.0, show_default=True, metavar="S", help="Per check.")
@click.option("-x", "stop_first", is_flag=True, help="Stop at the first failure.")
@click.option("--maxfail", default=0, metavar="N", help="Stop after N failures.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
    help="What makes the exit code 1.",
)
@click.option("--json", "json_file", metavar="FILE", help="Write the result as JSON.")
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    default=DEFAULT_HTML,
    show_default=True,
    help="Write the report.",
)
@click.option("--sarif", "sarif_file", metavar="FILE", help="Write SARIF 2.1.0.")
@click.option("--junit", "junit_file", metavar="FILE", help="Write JUnit XML.")
@click.option(
    "--summary",
    "summary_file",
    metavar="FILE",
    envvar="GITHUB_STEP_SUMMARY",
    help="Write a Markdown summary.  [default: $GITHUB_STEP_SUMMARY]",
)
@click.option("--no-html", is_flag=True, help="Write no report.")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="FILE",
    help="A Python file with more checks (repeatable).",
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="NO_COLOR and FORCE_COLOR are honoured.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also tracebacks and what your code printed.")
@click.option("-q", "--quiet", is_flag=True, help="Only findings and the last line.")
def run(**given: Any) -> None:
    """Run the checks on a target.

    TARGET is a file (model.py) or an object in a file or module (model.py:net, pkg.train:recipe).
    Loading executes it, as importing does. Arguments after -- are its own.
    """
    from recipe_check.run_command import run_target

    given["request"] = _request(given)
    sys.exit(run_target(given, _command_line()))


@cli.command()
@_loading_options
def show(**given: Any) -> None:
    """Show what would be loaded from a target, and run nothing."""
    from recipe_check.engine import Engine
    from recipe_check.reports.terminal import clean

    with Engine(_request(given)) as engine:
        loaded = engine.load()
    click.echo(clean(f"{loaded.target.file} on {loaded.device}"))
    for found in loaded.target.found:
        click.echo(clean(f"  {found.role:<14} {found.summary:<44} {found.how}"))
    for note in loaded.target.notes:
        click.echo(clean(f"  note: {note}"))


@cli.command(name="list")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="More checks.")
def list_checks(plugins: Sequence[str]) -> None:
    """List all checks with stage, cost and what they need.

    Cost is in forward (F) and backward (B) passes over a batch, and in training steps (S).
    """
    from recipe_check.plugins import check_classes

    rows = [
        (id, kind.meta.stage, kind.meta.preset, kind.meta.cost, ", ".join(sorted(kind.meta.needs)))
        for id, kind in check_classes(plugins).items()
    ]
    titles = ("check", "stage", "preset", "cost", "needs")
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    for row in [titles, *rows]:
        click.echo("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip())


@cli.command()
@click.argument("check", required=False)
@click.option("--all", "everything", is_flag=True, help="All checks.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="More checks.")
def explain(check: str | None, everything: bool, form: str, plugins: Sequence[str]) -> None:
    """Explain a check: what it measures, how it decides, limits, fix, sources."""
    from recipe_check.manual import manual_of, page
    from recipe_check.plugins import check_classes, suggestion

    kinds = check_classes(plugins)
    if not everything and check not in kinds:
        text = f"no check called {check!r}" if check else "say which check, or --all"
        raise UsageError(text, suggestion(check or "", kinds))
    chosen = {id: kind for id, kind in kinds.items() if everything or id == check}
    if form == "json":
        manuals = {id: manual_of(kind) for id, kind in chosen.items()}
        plain = {i: {"summary": m.summary, "sections": m.sections} for i, m in manuals.items()}
        click.echo(json.dumps(plain, indent=1))
    else:
        click.echo("\n".join(page(id, kind) for id, kind in chosen.items()), nl=False)


@cli.command()
@click.argument("result", type=click.Path(dir_okay=False))
@click.option("--html", "html_file", metavar="FILE", help="Write the report as HTML.")
@click.option("--sarif", "sarif_file", metavar="FILE", help="Write SARIF 2.1.0.")
@click.option("--junit", "junit_file", metavar="FILE", help="Write JUnit XML.")
@click.option("--summary", "markdown_file", metavar="FILE", help="Write a Markdown summary.")
def report(result: str, **outputs: str | None) -> None:
    """Write reports from a saved JSON result; nothing is run again."""
    from recipe_check.run_command import write_reports

    wanted = {name.removesuffix("_file"): file for name, file in outputs.items() if file}
    if not wanted:
        raise UsageError("nothing to write", "say what:  --html report.html")
    write_reports(_read(result), wanted)


def _read(path: str) -> Report:
    import msgspec

    from recipe_check.results import decode

    try:
        return decode(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(
            f"{path} is no result of recipe-check: {error}", "write one with  --json FILE"
        ) from error


def _request(given: dict[str, Any]) -> LoadRequest:
    from recipe_check.request import LoadRequest

    names = ("target", "model", "data", "loss", "optimizer", "seed", "device")
    chosen = {name: given.pop(name) for name in names}
    kwargs = dict(_keyword(text) for text in given.pop("kwargs"))
    return LoadRequest(**chosen, kwargs=kwargs, script_args=tuple(given.pop("script_args")))


def _keyword(text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value is JSON, or text where it is not."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--kwarg {text}: expected NAME=VALUE", "for example  --kwarg width=64")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _command_line() -> tuple[str, ...]:
    return ("recipe-check", *sys.argv[1:])


def main() -> None:
    """Entry point: our own errors become one message and their exit code."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except RecipeCheckError as error:
        sys.exit(_tell(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        click.echo(f"error: recipe-check itself broke: {type(error).__name__}: {error}", err=True)
        click.echo("help:  please report this, with the file if you can", err=True)
        if "-v" in sys.argv or "--verbose" in sys.argv:
            traceback.print_exc()
        sys.exit(4)


def _tell(error: RecipeCheckError) -> int:
    """The user's own traceback where there is one, then what happened and what to do."""
    from recipe_check.reports.terminal import clean

    if error.trace:
        click.echo(clean(error.trace.rstrip()), err=True)
        click.echo(err=True)
    click.echo(f"error: {clean(error.message)}", err=True)
    if error.hint:
        click.echo(f"help:  {clean(error.hint)}", err=True)
    return error.exit_code
