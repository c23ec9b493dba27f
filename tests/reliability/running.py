"""The engine around a target, in a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipe_check.engine import Engine
from recipe_check.errors import LoadError
from recipe_check.jobs import Job
from recipe_check.plugins import build, check_classes
from recipe_check.request import CheckRequest, LoadRequest
from recipe_check.results import Result

HERE = Path(__file__).parent
FAULTY = HERE / "faulty.py"
PLUGIN = str(HERE / "faulty_checks.py")


def jobs_for(ids: Sequence[str], plugins: Sequence[str] = ()) -> list[Job]:
    kinds = check_classes(plugins)
    return [Job(build(kinds[id], {}), CheckRequest(id=id)) for id in ids]


def faulty(*ids: str, timeout: float = 60.0, **options: Any) -> dict[str, Result]:
    """The results of these checks of `faulty_checks.py`, by id."""
    request = LoadRequest(target=str(FAULTY))
    with Engine(request, plugins=(PLUGIN,), budget=300, **options) as engine:
        engine.load()
        assert engine.rehearse() is None
        engine.check_timeout = timeout
        return {result.id: result for result in engine.run(jobs_for(ids, (PLUGIN,)))}


def checked(file: Path, *ids: str, **options: Any) -> tuple[Mapping[str, Result], LoadError | None]:
    """The results of checks on a file by id, and why its first step does not run."""
    with Engine(LoadRequest(target=str(file)), **{"budget": 300.0} | options) as engine:
        engine.load()
        broken = engine.rehearse()
        return {result.id: result for result in engine.run(jobs_for(ids))}, broken
