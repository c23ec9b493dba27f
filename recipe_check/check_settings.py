"""`[tool.recipe-check.checks.ID]`: options and severity of single checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from recipe_check.api import Check
from recipe_check.config import Config
from recipe_check.errors import UsageError
from recipe_check.jobs import Job
from recipe_check.plugins import build, select, suggestion
from recipe_check.policy import regraded
from recipe_check.request import CheckRequest
from recipe_check.results import Result

SEVERITIES = ("error", "warning", "off")


@dataclass(frozen=True)
class CheckSettings:
    """What the file says about each check: its options by field name, and its severity."""

    file: str
    options: Mapping[str, Mapping[str, Any]]
    severity: Mapping[str, str]

    def jobs(
        self,
        kinds: Mapping[str, type[Check]],
        chosen: Iterable[str],
        repeat: int = 1,
    ) -> tuple[Job, ...]:
        """The chosen checks with their options; those that are turned off say so."""
        return tuple(
            Job(
                build(kinds[id], self.options.get(id, {})),
                CheckRequest(id=id, options=self.options.get(id, {}), repeat=repeat),
                f"turned off in {self.file}" if self.severity.get(id) == "off" else "",
            )
            for id in chosen
        )

    def adjust(self, result: Result) -> Result:
        """The result with the severity that the file gives to its check."""
        return regraded(result, self.severity.get(result.id, ""), self.file)


def check_settings(config: Config | None, kinds: Mapping[str, type[Check]]) -> CheckSettings:
    """Validated against the checks there are; raises UsageError naming file and key."""
    if config is None:
        return CheckSettings("", {}, {})
    _known_selection(config, kinds)
    for number, suppress in enumerate(config.settings.suppress):
        _known(suppress.check, kinds, f"{config.name}: suppress[{number}]")
    options: dict[str, dict[str, Any]] = {}
    severity: dict[str, str] = {}
    for id, table in config.settings.checks.items():
        _known(id, kinds, f"{config.name}: checks.{id}")
        severity[id] = _severity(table, f"{config.name}: checks.{id}.severity")
        options[id] = _options(table, kinds[id], f"{config.name}: checks.{id}")
    return CheckSettings(config.name, options, severity)


def _known(id: str, kinds: Mapping[str, type[Check]], where: str) -> None:
    if id not in kinds:
        raise UsageError(f"{where}: no check called {id!r}", suggestion(id, kinds))


def _known_selection(config: Config, kinds: Mapping[str, type[Check]]) -> None:
    """`only` and `skip` of the file, whichever of them the command line replaces."""
    for key in ("only", "skip"):
        try:
            select(kinds, getattr(config.settings, key))
        except UsageError as error:
            raise UsageError(f"{config.name}: {key}: {error.message}", error.hint) from error


def _severity(table: Mapping[str, Any], where: str) -> str:
    value = table.get("severity", "")
    if "severity" in table and value not in SEVERITIES:
        raise UsageError(f"{where}: {value!r} is none of {', '.join(SEVERITIES)}")
    return str(value)


def _options(table: Mapping[str, Any], kind: type[Check], where: str) -> dict[str, Any]:
    """Kebab-case keys as field names, each of the type of the field's default."""
    dataclass: Any = kind
    fields = {field.name.replace("_", "-"): field.name for field in dataclasses.fields(dataclass)}
    given = {key: value for key, value in table.items() if key != "severity"}
    for key in given:
        if key not in fields:
            raise UsageError(
                f"{where}: unknown key {key!r}", suggestion(key, ["severity", *fields])
            )
    options = {fields[key]: value for key, value in given.items()}
    try:
        build(kind, options)
    except UsageError as error:
        said = error.message.removeprefix(f"{kind.meta.id}: ")
        raise UsageError(f"{where}: {said}", error.hint) from error
    return options
