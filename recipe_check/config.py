"""The configuration file: found, read and validated. Applying it is done elsewhere."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from recipe_check.config_words import in_words
from recipe_check.errors import UsageError
from recipe_check.plugins import suggestion
from recipe_check.request import split_target
from recipe_check.settings import Settings, SuppressTable, Table, TargetTable
from recipe_check.userframes import relative

OWN_FILE = "recipe-check.toml"
SHARED_FILE = "pyproject.toml"
FILES = (OWN_FILE, SHARED_FILE)  # of a folder that has both, the first counts


T = TypeVar("T", bound=Table)


@dataclass(frozen=True)
class Config:
    """The settings of one file. Paths in it are relative to its folder."""

    path: Path
    settings: Settings

    @property
    def name(self) -> str:
        """The file as it is shown: relative to the working directory where it is below it."""
        return relative(str(self.path))

    def from_here(self, path: str) -> str:
        """A path of the file as seen from the working directory."""
        return os.path.relpath(self.path.parent / path)

    def target_from_here(self, target: str) -> str:
        """A target of the file likewise; the name of a module stays as it is."""
        file, name = split_target(target)
        if not file.endswith(".py"):
            return target
        return f"{self.from_here(file)}:{name}" if name else self.from_here(file)


def find_config(start: Path) -> Config | None:
    """The first file with settings in `start` or above it; raises UsageError for a bad one."""
    folder = start.resolve()
    for path in (above / name for above in (folder, *folder.parents) for name in FILES):
        table = settings_table(path) if path.is_file() else None
        if table is not None:
            return Config(path, _settings(table, relative(str(path))))
    return None


def settings_table(path: Path) -> Any:
    """What the file says to us; None for a pyproject.toml that says nothing."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {relative(str(path))}: {error}") from error
    if path.name == OWN_FILE:
        return content
    tools = content.get("tool", {})
    return tools.get("recipe-check") if isinstance(tools, dict) else None


def _settings(plain: Any, file: str) -> Settings:
    """Unknown keys of the file itself first, then each table, then the whole."""
    _refuse_unknown(plain, Settings, file, "")
    if isinstance(plain, dict):
        for where, table, kind in _tables(plain):
            _convert(table, kind, file, where)
        _refuse_no_tables(plain.get("checks"), file)
    return _convert(plain, Settings, file, "")


def _tables(plain: Mapping[str, Any]) -> Iterator[tuple[str, Any, type[Table]]]:
    """The tables within the settings, each with its place: their errors name it."""
    targets, suppress = plain.get("targets"), plain.get("suppress")
    if isinstance(targets, dict):
        yield from ((f"targets.{name}", table, TargetTable) for name, table in targets.items())
    if isinstance(suppress, list):
        yield from ((f"suppress[{i}]", table, SuppressTable) for i, table in enumerate(suppress))


def _refuse_no_tables(checks: Any, file: str) -> None:
    """`checks.dropout = 0.5`, where the options of a check are meant."""
    for id, table in checks.items() if isinstance(checks, dict) else ():
        if not isinstance(table, dict):
            hint = f'for example  checks.{id}.severity = "warning"'
            raise UsageError(f"{file}: checks.{id}: should be a table of options", hint)


def _convert(plain: Any, kind: type[T], file: str, where: str) -> T:
    _refuse_unknown(plain, kind, file, where)
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        text, _, inside = str(error).partition(" - at `$")
        place = f"{where}{inside.rstrip('`')}".removeprefix(".")
        said, hint = in_words(text, place.rpartition(".")[2], kind)
        raise UsageError(f"{file}: {place}: {said}", hint) from None


def _refuse_unknown(plain: Any, kind: type[Table], file: str, where: str) -> None:
    known = kind.__struct_encode_fields__
    for key in plain if isinstance(plain, dict) else ():
        if key not in known:
            hint = suggestion(key, known)
            if key == "tool":
                hint = f"in {OWN_FILE} the keys stand without the prefix tool.recipe-check"
            place = f"{where}.{key}" if where else key
            raise UsageError(f"{file}: unknown key {place!r}", hint)
