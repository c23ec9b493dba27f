"""Findings as they are shown: checks that stopped at one and the same error are one finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from recipe_check.results import Result
from recipe_check.values import Status

from ._text import plural
from ._verdict import ordered

_ONE, _MANY = "while this check ran", "while they ran"


@dataclass(frozen=True)
class Shown:
    """What is shown as one finding, and the ids of all checks that it stands for."""

    result: Result
    ids: tuple[str, ...]

    @property
    def is_group(self) -> bool:
        return len(self.ids) > 1


def shown(results: Sequence[Result]) -> list[Shown]:
    """The findings in the order of their weight; each check stays a result of its own in the JSON,
    the table of all checks and the formats that count tests."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in ordered(results):
        if result.is_finding:
            groups.setdefault(_key(result), []).append(result)
    return [_shown(members) for members in groups.values()]


def _key(result: Result) -> tuple[str, ...]:
    """Equal for checks that broke with the same message on the same line."""
    if result.status is not Status.ERROR:
        return (result.id,)
    return ("", result.verdict.message, str(result.verdict.location))


def _shown(members: Sequence[Result]) -> Shown:
    first, ids = members[0], tuple(result.id for result in members)
    if len(members) == 1:
        return Shown(first, ids)
    message = first.verdict.message.replace(_ONE, _MANY)
    title = f"{plural(len(members), 'check')} stopped at the same error"
    verdict = msgspec.structs.replace(first.verdict, message=message)
    again = tuple(",".join(ids) if word == first.id else word for word in first.reproduce)
    one = msgspec.structs.replace(
        first, title=title, verdict=verdict, reproduce=again, about="", why=""
    )
    return Shown(one, ids)
