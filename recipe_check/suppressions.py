"""Which suppressions of the configuration file are meant for a loaded target."""

from __future__ import annotations

from pathlib import Path

from recipe_check.choice import Choice
from recipe_check.config import Config
from recipe_check.request import split_target
from recipe_check.results import DeclaredSuppression, Suppression, Target
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
