"""The keys of the configuration file, in kebab-case there. Reading it is `config`'s."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

import msgspec

from recipe_check.marks import LEAST_REASON


class Table(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of everything that is read from the file."""


class TargetTable(Table, frozen=True, kw_only=True):
    """`[tool.recipe-check.targets.NAME]`: what `recipe-check NAME` loads."""

    file: str | None = None
    model: str | None = None
    data: str | None = None
    loss: str | None = None
    optimizer: str | None = None
    kwargs: Mapping[str, Any] = {}
    capture: bool = False
    args: tuple[str, ...] = ()  # what the target sees in sys.argv


class SuppressTable(Table, frozen=True, kw_only=True):
    """`[[tool.recipe-check.suppress]]`: a finding that does not count, and why."""

    check: str
    target: str
    reason: Annotated[str, msgspec.Meta(min_length=LEAST_REASON)]
    expires: date | None = None
    permanent: bool = False

    def __post_init__(self) -> None:
        if (self.expires is None) == (not self.permanent):
            raise ValueError('give expires = "YYYY-MM-DD" or permanent = true')


class Settings(Table, frozen=True, kw_only=True):
    """All keys of the file; None where a key is not in it."""

    target: str | None = None
    preset: Literal["quick", "default", "thorough"] | None = None
    fail_on: Literal["error", "warning", "never"] | None = None
    budget: Annotated[float, msgspec.Meta(gt=0)] | None = None
    seed: int | None = None
    device: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    html: str | None = None
    targets: Mapping[str, TargetTable] = {}
    checks: Mapping[str, Mapping[str, Any]] = {}
    suppress: tuple[SuppressTable, ...] = ()
