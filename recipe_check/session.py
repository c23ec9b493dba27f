"""One run from request to report, for the command line and for Python."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from recipe_check.errors import LoadError
from recipe_check.gate import Gate
from recipe_check.jobs import Job, Loaded
from recipe_check.policy import budget_note, decide, roots
from recipe_check.privacy import discreet
from recipe_check.ranks import world
from recipe_check.request import LoadRequest
from recipe_check.results import Result
from recipe_check.run_report import SCHEMA, Expense, Report, Run, Summary, Tool
from recipe_check.runner import skipped
from recipe_check.values import Status


@dataclass(frozen=True)
class Plan:
    """Everything a run was asked for."""

    request: LoadRequest
    jobs: tuple[Job, ...]
    budget: float
    check_timeout: float
    fail_on: str
    maxfail: int
    command: tuple[str, ...]
    version: str
    gate: Gate = field(default_factory=Gate)


class Runner(Protocol):
    """What runs the jobs of a loaded target: `Engine`, or `InProcess` without a worker."""

    interrupted: bool

    def run(self, jobs: Sequence[Job], /) -> Iterator[Result]: ...

    def summary(self) -> Summary: ...

    def expense(self) -> Expense: ...


def perform(
    plan: Plan,
    engine: Runner,
    loaded: Loaded,
    broken: LoadError | None,
    watching: AbstractContextManager[Any] | None = None,
) -> Report:
    """Runs the jobs on a loaded engine, `watching` them, and puts the report together.

    Where not even one training step runs, the data may say why: only their checks are run, and
    `broken` is raised if they find nothing.
    """
    start, clock = datetime.now(UTC), time.monotonic()
    with watching or nullcontext():
        results = _run(plan, engine, broken)
    if broken is not None and not any(r.status is Status.FAIL for r in results):
        raise broken
    judged = plan.gate.judge(results, loaded.target, start.date())
    summary, expense = engine.summary(), engine.expense()
    stale = plan.gate.strict and bool(judged.notes)
    decision = decide(judged.results, plan.fail_on, interrupted=engine.interrupted, stale=stale)
    report = Report(
        schema=SCHEMA,
        tool=Tool(name="recipe-check", version=plan.version),
        target=loaded.target,
        run=Run(
            seed=plan.request.seed,
            device=loaded.device,
            started=start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=round(time.monotonic() - clock, 3),
            budget_seconds=plan.budget,
            command=plan.command,
            environment=(*loaded.environment, *plan.gate.provenance),
            interrupted=engine.interrupted,
            step_seconds=expense.step_seconds,
            step_equivalents=_in_steps(results, expense.step_seconds),
            peak_memory_bytes=expense.peak_memory_bytes,
        ),
        outcome=decision.outcome,
        exit_code=decision.exit_code,
        results=judged.results,
        roots=roots(judged.results),
        inputs=summary.inputs,
        layers=summary.layers,
        notes=(*judged.notes, *budget_note(results, plan.budget)),
    )
    return discreet(report)


def _run(plan: Plan, engine: Runner, broken: LoadError | None) -> tuple[Result, ...]:
    """Stops after `maxfail` failures; every result carries the command that repeats it."""
    found: list[Result] = []
    jobs = [job for job in plan.jobs if broken is None or job.check.meta.stage == "data"]
    for result in engine.run(jobs):
        found.append(result)
        failures = sum(r.status is Status.FAIL for r in found)
        if plan.maxfail and failures >= plan.maxfail:
            break
    if broken is not None:
        found += [skipped(job.check, broken.message) for job in plan.jobs if job not in jobs]
    return tuple(
        msgspec.structs.replace(result, reproduce=reproduce(plan.request, result.id))
        for result in found
    )


def _in_steps(results: Sequence[Result], step: float | None) -> float | None:
    """How many plain training steps would have taken as long as the checks."""
    if not step:
        return None
    return round(sum(result.cost.seconds for result in results) / step, 1)


def reproduce(request: LoadRequest, id: str) -> tuple[str, ...]:
    """The command that runs one check alone; () where no file was loaded."""
    if not request.target:
        return ()
    words = base_command(request, "--only", id, "--seed", str(request.seed))
    here = world()
    if here is None:
        return words
    return ("torchrun", "--nproc-per-node", str(here.size), "-m", "recipe_check", *words[1:])


def base_command(request: LoadRequest, *more: str) -> tuple[str, ...]:
    """`recipe-check run TARGET` with the options that say what to load and where, `more` of them
    and the arguments of the target."""
    options = {
        "--model": request.model,
        "--data": request.data,
        "--loss": request.loss,
        "--optimizer": request.optimizer,
    }
    words = ["recipe-check", "run", _from_here(request.target)]
    words += ["--capture"] if request.capture else []
    for option, value in options.items():
        words += [option, value] if value else []
    for name, value in request.kwargs.items():
        words += ["--kwarg", f"{name}={msgspec.json.encode(value).decode()}"]
    if request.device != "auto":
        words += ["--device", request.device]
    arguments = ["--", *request.script_args] if request.script_args else []
    return (*words, *more, *arguments)


def _from_here(target: str) -> str:
    """A file below the working directory is named from there, however it was given."""
    path, here = Path(target), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else target
