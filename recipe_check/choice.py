"""What to load and the defaults of the options: from TARGET and the configuration file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipe_check.config import Config, find_config
from recipe_check.errors import UsageError
from recipe_check.request import split_target
from recipe_check.settings import Settings, TargetTable


@dataclass(frozen=True)
class Choice:
    """`target` is what to load; `name` is what was asked for, in the words of the user."""

    name: str
    target: str
    config: Config | None = None
    table: TargetTable = field(default_factory=TargetTable)

    @property
    def settings(self) -> Settings:
        return self.config.settings if self.config else Settings()

    @property
    def root(self) -> str:
        """The folder in which modules named in the file are."""
        return str(self.config.path.parent) if self.config else ""

    def defaults(self) -> dict[str, Any]:
        """Values for the options that are not on the command line, by parameter name."""
        settings, table, config = self.settings, self.table, self.config
        found: dict[str, Any] = {
            name: getattr(settings, name) for name in ("preset", "fail_on", "budget", "seed")
        }
        found |= {name: getattr(table, name) for name in ("model", "data", "loss", "optimizer")}
        found["capture"] = table.capture or None
        found["device"] = settings.device
        found["only"] = ",".join(settings.only) or None
        found["skip"] = ",".join(settings.skip) or None
        found["html_file"] = config.from_here(settings.html) if config and settings.html else None
        return {name: value for name, value in found.items() if value is not None}


def choose(given: str | None) -> Choice:
    """The choice for TARGET: a file, an object, a name of the targets table, or the default."""
    config = find_config(_folder(given))
    settings = config.settings if config else Settings()
    name = given or settings.target
    if name is None:
        raise UsageError(
            "no TARGET", "give a file:  recipe-check model.py, or see  recipe-check init"
        )
    if config is None:
        return Choice(name, name)
    table = settings.targets.get(name)
    if table is not None:
        return Choice(name, _target_of(name, table, config), config, table)
    return Choice(name, given or config.target_from_here(name), config)


def default_target(folder: Path) -> str | None:
    """The `target` of the configuration file that counts in a folder."""
    config = find_config(folder)
    return config.settings.target if config else None


def _folder(given: str | None) -> Path:
    """Where the search starts: the folder of a file, else the working directory."""
    file, _ = split_target(given or "")
    return Path(file).parent if file.endswith(".py") else Path()


def _target_of(name: str, table: TargetTable, config: Config) -> str:
    """The file of a table, else the module that its model is in."""
    if table.file is not None:
        return config.target_from_here(table.file)
    module, colon, _ = (table.model or "").rpartition(":")
    if not colon or module.endswith(".py"):
        raise UsageError(
            f"{config.name}: targets.{name} needs a file", 'or  model = "package.module:object"'
        )
    return module
