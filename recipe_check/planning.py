"""From parsed options and the configuration file to the plan of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import click

from recipe_check import __version__
from recipe_check.api import Check
from recipe_check.baseline import read_baseline
from recipe_check.check_settings import CheckSettings
from recipe_check.errors import UsageError
from recipe_check.gate import Gate
from recipe_check.last import failed_last
from recipe_check.plugins import select
from recipe_check.ranks import world
from recipe_check.request import LoadRequest
from recipe_check.session import Plan, base_command


def plan_run(
    given: Mapping[str, Any],
    command: tuple[str, ...],
    kinds: Mapping[str, type[Check]],
    settings: CheckSettings,
) -> Plan:
    """The plan; raises UsageError for an unknown check, or where none is left."""
    request: LoadRequest = given["request"]
    only, skip = _words(given["only"]), _words(given["skip"])
    chosen = select(kinds, only, skip, given["preset"], ranks=world() is not None)
    if given["last_failed"]:
        chosen = _failed_last(chosen, request)
    if not chosen:
        raise UsageError("no check is left to run", "see  recipe-check list")
    return Plan(
        request=request,
        jobs=settings.jobs(kinds, chosen, given["repeat"]),
        budget=given["budget"],
        check_timeout=given["check_timeout"],
        fail_on=given["fail_on"],
        maxfail=1 if given["stop_first"] else given["maxfail"],
        command=command,
        version=__version__,
        gate=_gate(given, kinds),
    )


def memory_key(request: LoadRequest) -> str:
    """What a run remembers its failures by: the command that loads the same."""
    return shlex.join(base_command(request))


def _gate(given: Mapping[str, Any], kinds: Mapping[str, type[Check]]) -> Gate:
    return Gate(
        choice=given["choice"],
        baseline=read_baseline(given["baseline"]) if given["baseline"] else None,
        strict=given["strict_suppressions"],
        checks=tuple(kinds),
    )


def _failed_last(chosen: list[str], request: LoadRequest) -> list[str]:
    """Those that failed last time; all of them, with a word on it, where none did."""
    failed = failed_last(memory_key(request))
    if not failed:
        click.echo("--lf: no check failed last time, so all are run", err=True)
        return chosen
    return [id for id in chosen if id in failed]


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]
