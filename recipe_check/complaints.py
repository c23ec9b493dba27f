"""What is printed in place of a result: what happened, then what to do. What click says of a wrong
command line is put into the same form."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

import click

from recipe_check.ci import fenced
from recipe_check.errors import RecipeCheckError, UsageError
from recipe_check.settings import Settings

_NAME = re.compile(r"[A-Za-z][\w-]*")
_WORDS = {
    " is not one of ": " is none of ",
    " is not in the range x>=": " should be at least ",
    " is not in the range x>": " should be above ",
}
_CLOSE = 0.75  # difflib's ratio: one slip of the finger in four letters


def in_words(error: click.ClickException) -> UsageError:
    """click's error as ours."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "recipe-check"
    help_ = f"{path} --help  lists the options"
    if isinstance(error, click.NoSuchOption):
        close = get_close_matches(error.option_name, error.possibilities or (), n=1, cutoff=_CLOSE)
        hint = f"did you mean {close[0]!r}?" if close else help_
        return UsageError(f"no option {error.option_name}", hint)
    text = error.format_message().strip().rstrip(".")
    found = re.fullmatch(r"Invalid value for '?([^':]+)'?: (.*)", text, re.DOTALL)
    text = f"{found[1]}: {found[2]}" if found else f"{text[:1].lower()}{text[1:]}"
    for theirs, ours in _WORDS.items():
        text = text.replace(theirs, ours)
    return UsageError(text, help_)


def refuse_misspelt(target: str, settings: Settings, commands: Iterable[str]) -> None:
    """Raises UsageError for a TARGET that is nothing and nearly the name of a command or of a
    table of targets: `recipe-check explian`."""
    if target in settings.targets or _NAME.fullmatch(target) is None or _is_there(target):
        return
    known = {name: f"recipe-check {name}" for name in (*commands, *settings.targets)}
    close = get_close_matches(target, known, n=1, cutoff=_CLOSE)
    if close:
        said = f"no command, target, file or module is called {target!r}"
        raise UsageError(said, f"did you mean  {known[close[0]]}?")


def _is_there(name: str) -> bool:
    """A file, or a module that Python finds; nothing is imported."""
    return Path(name).exists() or Path(f"{name}.py").exists() or find_spec(name) is not None


def tell(error: RecipeCheckError) -> int:
    """Prints the user's own traceback where there is one, what happened and what to do; returns
    the exit code."""
    from recipe_check.reports.terminal import clean

    lines = [f"{clean(error.trace.rstrip())}\n"] if error.trace else []
    lines.append(f"error: {clean(error.message)}")
    if error.hint:
        lines.append(f"help:  {clean(error.hint)}")
    click.echo(fenced("\n".join(lines)), err=True)
    return error.exit_code


def unforeseen(error: Exception) -> int:
    """A full disk behind standard output, else our own fault."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"error: cannot write to standard output: {error.strerror}", err=True)
        return 2
    said = f"error: recipe-check itself broke: {type(error).__name__}: {error}"
    lines = [said, "help:  please report this, with the file if you can"]
    if "-v" in sys.argv or "--verbose" in sys.argv:
        lines.append(traceback.format_exc().rstrip())
    click.echo(fenced("\n".join(lines)), err=True)
    return 4
