"""Which suppressions of the configuration file are meant for a loaded target, and which for none
that there can be."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from recipe_check.choice import Choice
from recipe_check.config import Config
from recipe_check.plugins import suggestion
from recipe_check.request import split_target
from recipe_check.results import Suppression
from recipe_check.run_report import DeclaredSuppression, Target
from recipe_check.settings import SuppressTable


def declared_for(choice: Choice, loaded: Target) -> tuple[DeclaredSuppression, ...]:
    """The suppressions for this target, in the order of the file."""
    config = choice.config
    if config is None:
        return ()
    tables = config.settings.suppress
    return tuple(_declared(t) for t in tables if _is_meant(t.target, choice, config, loaded))


def _declared(table: SuppressTable) -> DeclaredSuppression:
    expires = table.expires.isoformat() if table.expires else None
    suppression = Suppression(reason=table.reason, expires=expires)
    return DeclaredSuppression(check=table.check, suppression=suppression)


def _is_meant(written: str, choice: Choice, config: Config, loaded: Target) -> bool:
    """By the name of a targets table, or by `file.py`, `file.py:Model` or `file.py:object`;
    likewise for a module."""
    if written == choice.name:
        return True
    place, name = split_target(written)
    asked, item = split_target(choice.target)
    if name not in ("", item, loaded.model):
        return False
    if not place.endswith(".py"):
        return place == asked
    meant = (config.path.parent / place).resolve()
    return meant in (Path(asked).resolve(), Path(loaded.file).resolve())


def unmatched(choice: Choice, loaded: Target) -> tuple[str, ...]:
    """A note for each suppression whose target cannot be anything: its file, module or name is
    nowhere. Those of other targets of the same file are none of this run's business."""
    config = choice.config
    if config is None:
        return ()
    tables = ((table, _nowhere(table.target, config)) for table in config.settings.suppress)
    return tuple(
        f"the suppression of {table.check} ({table.reason}) matches nothing: {why}"
        for table, why in tables
        if why and not _is_meant(table.target, choice, config, loaded)
    )


def of_no_check(loaded: Target, known: Collection[str]) -> tuple[str, ...]:
    """A note for each mark in the code that names no check."""
    return tuple(
        f"the suppression of {d.check} ({d.suppression.reason}) matches nothing: "
        f"no check is called that; {suggestion(d.check, known)}"
        for d in loaded.suppressions
        if known and d.check not in known
    )


def _nowhere(written: str, config: Config) -> str:
    """Why no target can be called that; '' where one may be. Nothing is imported."""
    if written in config.settings.targets:
        return ""
    place, name = split_target(written)
    if not place.endswith(".py"):
        return "" if _is_module(place, config.path.parent) else f"no file or module {place}"
    file = config.path.parent / place
    if not file.is_file():
        return f"no file {config.from_here(place)}"
    text = file.read_text(encoding="utf-8", errors="replace")
    if name and re.search(rf"\b{re.escape(name)}\b", text) is None:
        return f"no {name} in {config.from_here(place)}"
    return ""


def _is_module(name: str, root: Path) -> bool:
    """Beside the configuration file, or installed; only the first part of the name is looked up,
    since the rest would import it."""
    path = root.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    first = name.split(".")[0]
    return first in sys.modules or (first.isidentifier() and find_spec(first) is not None)
