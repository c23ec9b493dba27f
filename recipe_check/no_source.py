"""`--no-source`: results and errors without lines of source and without absolute paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from recipe_check.errors import RecipeCheckError
from recipe_check.values import Value, from_plain, to_plain

T = TypeVar("T", bound=Value)

_NAME = r"[\w.@+~-]+"
_ROOT = r"(?:[A-Za-z]:[\\/]|\\\\|~?/)"
_QUOTED = re.compile(rf"(['\"`]){_ROOT}[^'\"`\n]*?([^'\"`\n\\/]+)[\\/]?\1")
_PLAIN = re.compile(
    rf"(?<![\w.…/\\:~])(?:file://)?"
    rf"(?:(?:{_ROOT}(?:{_NAME}[\\/])+|~/)({_NAME})|/({_NAME}\.\w{{1,5}})\b)[\\/]?"
)
_SOURCE = ("source", "remove", "add")  # keys of lines of the user's code


def without_source(value: T) -> T:
    """The same value; of a path its last part stays, of a traceback where it went through."""
    return from_plain(_bare(to_plain(value)), type(value))


def without_paths(text: str) -> str:
    """Paths below the working directory relative to it, of others the last part behind `…/`."""
    here = Path.cwd()
    if len(here.parts) > 1:
        text = re.sub(rf"(?<![\w.…~-]){re.escape(str(here))}[\\/]", "", text)
    text = _QUOTED.sub(lambda path: f"{path[1]}…/{path[2]}{path[1]}", text)
    return _PLAIN.sub(lambda path: f"…/{path[1] or path[2]}", text)


def bare_trace(text: str) -> str:
    """A traceback's files, lines and error, not the source between them."""
    lines = [line for line in text.splitlines() if not line.startswith("    ")]
    return without_paths("\n".join(lines))


@contextmanager
def errors_without_source(*, enabled: bool) -> Iterator[None]:
    """Errors that leave the block say as little of it as the results do."""
    try:
        yield
    except RecipeCheckError as error:
        if enabled:
            error.message = without_paths(error.message)
            error.hint = without_paths(error.hint)
            error.trace = bare_trace(error.trace)
        raise


def _bare(plain: Any, key: str = "") -> Any:
    if isinstance(plain, dict):
        return {name: _bare(item, name) for name, item in plain.items()}
    if isinstance(plain, list):
        return [] if key in _SOURCE else [_bare(item) for item in plain]
    if not isinstance(plain, str):
        return plain
    if key in _SOURCE:
        return ""
    return bare_trace(plain) if key == "traceback" else without_paths(plain)
