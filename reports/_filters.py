"""What the templates may call, and the environment that makes every value safe to show."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

import jinja2

from recipe_check.values import Cause, CauseState, Location

from . import _dates, _plots, _tables, _text
from ._limits import Room, left_out


class Ours(str):
    """Text that we made ourselves, style sheet and pictures: neither cut nor escaped."""

    def __html__(self) -> str:
        return str(self)


class Long(str):
    """Text that may be longer than a name: a traceback, a command, a manual."""


def environment(room: Room) -> jinja2.Environment:
    """Escapes everything, cuts every text to the room there is, refuses unknown names."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("recipe_check.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: _safe(value, room),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= _FILTERS
    return made


def source(name: str) -> str:
    """A file beside the templates, as it is."""
    loader = jinja2.PackageLoader("recipe_check.reports", "templates")
    return loader.get_source(jinja2.Environment(), name)[0]


def _safe(value: Any, room: Room) -> Any:
    """Every value that a template prints is made safe to show, whoever wrote the template."""
    if hasattr(value, "__html__"):
        return value
    return _text.clean(str(value), room.long if isinstance(value, Long) else room.text)


def _capital(text: str) -> str:
    """A capital, but for a text that begins with a name such as `fc1` or `x.view`."""
    first = text.split(maxsplit=1)[0] if text.strip() else ""
    plain = first.rstrip(",:;").isalpha() and first.islower()
    return text[0].upper() + text[1:] if plain else text


def _sentence(text: str) -> Long:
    """A capital and a full stop."""
    text = _capital(text.strip())
    return Long(text if not text or text[-1] in ".!?:;…" else f"{text}.")


def _prose(text: str) -> list[tuple[bool, str]]:
    """The text in parts; True where it stood between back-ticks: code."""
    parts = re.split(r"`([^`\n]+)`", text)
    kind = type(text)
    return [(place % 2 == 1, kind(part)) for place, part in enumerate(parts) if part]


def _sorted_causes(causes: Sequence[Cause]) -> list[Cause]:
    order = list(CauseState)
    return sorted(causes, key=lambda cause: order.index(cause.state))


def _source_parts(location: Location) -> tuple[str, str, str]:
    """The source line without its indent: before, at and after the marked columns."""
    line = location.source.rstrip()
    indent = len(line) - len(line.lstrip())
    if location.column is None or location.end_column is None:
        return line[indent:], "", ""
    start = max(location.column - 1, indent)
    end = max(location.end_column - 1, start)
    return line[indent:start], line[start:end], line[end:]


_FILTERS: dict[str, Any] = {
    "long": Long,
    "capital": _capital,
    "sentence": _sentence,
    "prose": _prose,
    "number": _text.number,
    "seconds": _text.seconds,
    "plural": _text.plural,
    "command": lambda words: Long(shlex.join(words)),
    "toml": lambda text: json.dumps(_text.short(text), ensure_ascii=False),
    "with_days": _dates.with_days,
    "anchor": lambda id: re.sub(r"[^A-Za-z0-9-]", "_", id)[:100],
    "svg": lambda detail: Ours(_plots.svg(detail)),
    "is_picture": _plots.is_picture,
    "as_table": _tables.as_table,
    "numeric": _tables.numeric,
    "alt": _tables.alt,
    "left_out": left_out,
    "sort_causes": _sorted_causes,
    "source_parts": _source_parts,
}
