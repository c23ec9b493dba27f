"""What must not reach a report: the path of the home folder, and secrets of the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_WORDS = r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|API_?KEY|ACCESS_KEY|PRIVATE_KEY"
_SECRET = re.compile(rf"(?:^|_)(?:{_WORDS})(?:$|_)")
_OTHERS_HOME = re.compile(r"(?<![\w.…])/(?:home|Users)/[^/\s'\":]+")
LEAST = 8  # characters of a secret: shorter ones would blank out words and numbers


def discreet(value: T) -> T:
    """The value with `~` for the home folder, `…` for another's, and `***` for the values of
    variables whose names speak of secrets, in every text within it."""
    clean: T = _mapped(value, partial(_cleaned, secrets=_secrets(), home=_home()))
    return clean


def _secrets() -> tuple[str, ...]:
    """Longest first: one may be part of another."""
    found = {v for k, v in os.environ.items() if _SECRET.search(k.upper()) and len(v) >= LEAST}
    return tuple(sorted(found, key=len, reverse=True))


def _home() -> str:
    """'' where there is none, or where it is the root of all paths."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return ""
    return home if len(Path(home).parts) > 1 else ""


def _cleaned(text: str, secrets: tuple[str, ...], home: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    if home:
        text = re.sub(re.escape(home) + r"(?![\w.-])", "~", text)
    return _OTHERS_HOME.sub("…", text)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The value with each text changed; what holds none stays the same object."""
    if type(value) is str:
        return change(value)
    if isinstance(value, msgspec.Struct):
        new = {name: _mapped(getattr(value, name), change) for name in value.__struct_fields__}
        same = all(new[name] is getattr(value, name) for name in new)
        return value if same else msgspec.structs.replace(value, **new)
    if isinstance(value, tuple):
        items = tuple(_mapped(item, change) for item in value)
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    return value
