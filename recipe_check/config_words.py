"""What msgspec says of a bad configuration file, in the words of someone who wrote it."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Any

from recipe_check.plugins import suggestion

_KINDS = {
    "str": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list in [ ]",
    "object": "a table",
    "date": "a date such as 2027-02-21",
    "null": "",
}
_EXPECTED = re.compile(
    r"Expected `([^`]+)`(?: of length >= (\d+)| (>=?) ([\d.]+))?(?:, got `(\w+)`)?"
)
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_ENUM = re.compile(r"Invalid enum value '([^']*)'")
_GENERAL = "recipe-check init  writes a file with an example of each key"


def in_words(said: str, key: str, kind: type[Any]) -> tuple[str, str]:
    """The sentence of a ValidationError about `key` of the table `kind`, and what to do."""
    if found := _ENUM.match(said):
        known = choices(kind, key)
        return f"{found[1]!r} is none of {', '.join(known)}", suggestion(found[1], known)
    if found := _MISSING.match(said):
        return f"the key {found[1]!r} is missing", _GENERAL
    if found := _EXPECTED.match(said):
        return _expected(found), _table_hint(key, kind) if found[5] == "object" else _GENERAL
    if "RFC3339" in said:
        return f"should be {_KINDS['date']}", _GENERAL
    return f"{said[:1].lower()}{said[1:]}", _GENERAL


def _expected(found: re.Match[str]) -> str:
    names = [_KINDS.get(name, name) for name in found[1].split(" | ")]
    wanted = " or ".join(filter(None, names))
    if found[2]:
        return f"should be {wanted}, of at least {found[2]} characters"
    if found[3]:
        return f"should be {wanted} {found[3]} {found[4].removesuffix('.0')}"
    return f"should be {wanted}, not {_KINDS.get(found[5], found[5])}"


def _table_hint(key: str, kind: type[Any]) -> str:
    """`[target.small]` where `[targets.small]` is meant."""
    plural = f"{key}s"
    return f"did you mean {plural!r}?" if plural in kind.__struct_encode_fields__ else _GENERAL


def choices(kind: type[Any], key: str) -> tuple[str, ...]:
    """The words that a key may have, from its `Literal`; () for any other key."""
    names: Mapping[str, str] = dict(
        zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
    )
    hint = typing.get_type_hints(kind).get(names.get(key, key))
    literals = [part for part in typing.get_args(hint) if typing.get_origin(part) is typing.Literal]
    return tuple(str(word) for literal in literals for word in typing.get_args(literal))
