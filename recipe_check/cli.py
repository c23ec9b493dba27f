"""The command line. Nothing here imports torch: that happens in the worker process."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recipe_check import __version__
from recipe_check.ci import fenced
from recipe_check.complaints import in_words, tell, unforeseen
from recipe_check.errors import RecipeCheckError, UsageError
from recipe_check.options import choosing_options, gate_options, loading_options, output_options
from recipe_check.ranks import at_the_end, follows, leave, world
from recipe_check.streams import be_silent, open_streams

if TYPE_CHECKING:
    from recipe_check.choice import Choice
    from recipe_check.request import LoadRequest


class _Group(click.Group):
    """`recipe-check model.py` is short for `recipe-check run model.py`, and nothing at all for
    the target of the configuration file."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help", "--version"):
            args = ["run", *args]
        if not args and _has_target():
            args = ["run"]
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


@cli.command()
@loading_options
@choosing_options
@gate_options
@output_options
@click.pass_obj
def run(choice: Choice, /, **given: Any) -> None:
    """Run the checks on a target.

    TARGET is a file (model.py), an object in a file or module (model.py:net, pkg.train:recipe),
    or a name of the targets in the configuration file, whose `target` is the default. Loading
    executes it, as importing does. Arguments after -- are its own.
    """
    from recipe_check.run_command import run_target

    crew = None
    if world() is not None:
        from recipe_check.crew import Crew, Limits, follow

        limits = Limits(given["plugins"], given["memory_limit"], given["budget"],
                        given["check_timeout"])  # fmt: skip
        if follows():
            sys.exit(follow(limits))
        crew = Crew(limits)
        at_the_end(crew.leave)
    given["request"] = _request(choice, given)
    sys.exit(run_target(given | {"choice": choice, "crew": crew}, ("recipe-check", *sys.argv[1:])))


@cli.command()
@loading_options
@click.pass_obj
def show(choice: Choice, /, **given: Any) -> None:
    """Show what would be loaded from a target, and run nothing."""
    from recipe_check.engine import Engine
    from recipe_check.reports.terminal import clean

    with Engine(_request(choice, given)) as engine:
        loaded = engine.load()
    lines = [f"{loaded.target.file} on {loaded.device}"]
    lines += [f"  {f.role:<14} {f.summary:<44} {f.how}" for f in loaded.target.found]
    lines += [f"  note: {note}" for note in loaded.target.notes]
    click.echo(fenced("\n".join(clean(line) for line in lines)))


@cli.command(name="list")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="More checks.")
def list_checks(plugins: Sequence[str]) -> None:
    """List all checks.

    A line each: stage, preset, severity, cost and what it needs.

    Severity is the worst that a check may say. Cost is in forward (F) and backward (B) passes over
    a batch, and in training steps (S).
    """
    from recipe_check.plugins import check_classes

    rows = [
        (id, meta.stage, meta.preset, meta.severity, meta.cost, ", ".join(sorted(meta.needs)))
        for id, meta in ((id, kind.meta) for id, kind in check_classes(plugins).items())
    ]
    titles = ("check", "stage", "preset", "severity", "cost", "needs")
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    for row in [titles, *rows]:
        click.echo("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip())


@cli.command()
@click.argument("check", required=False)
@click.option("--all", "everything", is_flag=True, help="All checks.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="More checks.")
def explain(check: str | None, everything: bool, form: str, plugins: Sequence[str]) -> None:
    """Explain a check: what it measures, its limits, fix and sources."""
    from recipe_check.explain_command import explained

    click.echo(explained(check, plugins, everything=everything, plain=form == "json"), nl=False)


@cli.command()
@click.argument("result", type=click.Path(dir_okay=False))
@click.option("--html", "html_file", metavar="FILE", help="Write the report as HTML.")
@click.option("--sarif", "sarif_file", metavar="FILE", help="Write SARIF 2.1.0.")
@click.option("--junit", "junit_file", metavar="FILE", help="Write JUnit XML.")
@click.option("--summary", "markdown_file", metavar="FILE", help="Write a Markdown summary.")
@click.option("--format", "form", metavar="NAME",
              help="Print it: concise, github, markdown, json, or a plugin's format.")  # fmt: skip
@click.option("--no-source", is_flag=True, help="Without source lines and absolute paths.")
def report(result: str, *, form: str | None, no_source: bool, **outputs: str | None) -> None:
    """Write reports from a saved JSON result; nothing is run again."""
    from recipe_check.report_command import write_again

    wanted = {name.removesuffix("_file"): file for name, file in outputs.items() if file}
    write_again(result, wanted, form, source=not no_source)


@cli.command()
@click.argument("before", type=click.Path(dir_okay=False))
@click.argument("after", type=click.Path(dir_okay=False))
def diff(before: str, after: str) -> None:
    """Compare two JSON results: what is new, fixed, still there.

    The exit code is 1 when there are new failures.
    """
    from recipe_check.diff_command import compare, lines
    from recipe_check.reports.terminal import clean
    from recipe_check.saved import read_report

    found = compare(read_report(before), read_report(after))
    click.echo("\n".join(clean(line) for line in lines(found)))
    sys.exit(found.exit_code)


@cli.command()
@click.argument("target", required=False)
def init(target: str | None) -> None:
    """Write a commented recipe-check.toml into the working directory."""
    from recipe_check.init_command import write_config

    click.echo(f"wrote {write_config(target)}")


def _has_target() -> bool:
    from recipe_check.choice import default_target

    return default_target(Path()) is not None


def _request(choice: Choice, given: dict[str, Any]) -> LoadRequest:
    """Takes out of the options what says what to load."""
    from recipe_check.request import LoadRequest

    names = ("target", "model", "data", "loss", "optimizer", "seed", "device", "capture")
    chosen = {name: given.pop(name) for name in names}
    kwargs = dict(choice.table.kwargs) | dict(_keyword(text) for text in given.pop("kwargs"))
    arguments = tuple(given.pop("script_args")) or choice.table.args
    return LoadRequest(
        **chosen, kwargs=kwargs, script_args=arguments, root=choice.root, alone=world() is not None
    )


def _keyword(text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value is JSON, or Python (False, None), or text where it is neither."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--kwarg {text}: expected NAME=VALUE", "for example  --kwarg width=64")
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError):
            return name, read(value)
    return name, value


def main() -> None:
    """Entry point: our own errors become one message and their exit code. Of several ranks the
    first alone prints, and does what is no run."""
    open_streams()
    if follows():
        be_silent()
        if sys.argv[1:2] and sys.argv[1] in cli.commands.keys() - {"run"}:
            return
    code = _run_cli()
    leave(code)
    sys.exit(code)


def _run_cli() -> int:
    """The exit code, when everything is printed."""
    try:
        cli(standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return tell(in_words(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except RecipeCheckError as error:
        return tell(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        return unforeseen(error)
    return 0
