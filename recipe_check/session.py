"""One run from request to report, for the command line."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from recipe_check.engine import Engine, Job, Loaded
from recipe_check.errors import LoadError
from recipe_check.policy import decide, roots, suppressed
from recipe_check.request import LoadRequest
from recipe_check.results import SCHEMA, Report, Result, Run, Status, Tool, Verdict
from recipe_check.runner import as_result


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


def perform(plan: Plan, engine: Engine, loaded: Loaded, broken: LoadError | None) -> Report:
    """Runs the jobs on a loaded engine and puts the report together.

    Where not even one training step runs, the data may say why: only their checks are run, and
    `broken` is raised if they find nothing.
    """
    start, clock = datetime.now(UTC), time.monotonic()
    results = _run(plan, engine, broken)
    if broken is not None and not any(r.status is Status.FAIL for r in results):
        raise broken
    results = suppressed(results, loaded.target.suppressions, start.date())
    summary = engine.summary()
    decision = decide(results, plan.fail_on, interrupted=engine.interrupted)
    return Report(
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
            environment=loaded.environment,
            interrupted=engine.interrupted,
        ),
        outcome=decision.outcome,
        exit_code=decision.exit_code,
        results=results,
        roots=roots(results),
        inputs=summary.inputs,
        layers=summary.layers,
    )


def _run(plan: Plan, engine: Engine, broken: LoadError | None) -> tuple[Result, ...]:
    """Stops after `maxfail` failures; every result carries the command that repeats it."""
    found: list[Result] = []
    jobs = [job for job in plan.jobs if broken is None or job.check.meta.stage == "data"]
    for result in engine.run(jobs):
        found.append(result)
        failures = sum(r.status is Status.FAIL for r in found)
        if plan.maxfail and failures >= plan.maxfail:
            break
    if broken is not None:
        reason = Verdict(status=Status.SKIP, message=broken.message)
        found += [as_result(job.check, reason) for job in plan.jobs if job not in jobs]
    return tuple(
        msgspec.structs.replace(result, reproduce=_reproduce(plan, result.id)) for result in found
    )


def _reproduce(plan: Plan, id: str) -> tuple[str, ...]:
    return (*base_command(plan.request), "--only", id, "--seed", str(plan.request.seed))


def base_command(request: LoadRequest) -> tuple[str, ...]:
    """`recipe-check run TARGET` with the options that say what to load and where."""
    options = {
        "--model": request.model,
        "--data": request.data,
        "--loss": request.loss,
        "--optimizer": request.optimizer,
    }
    words = ["recipe-check", "run", request.target]
    for option, value in options.items():
        words += [option, value] if value else []
    for name, value in request.kwargs.items():
        words += ["--kwarg", f"{name}={msgspec.json.encode(value).decode()}"]
    if request.device != "auto":
        words += ["--device", request.device]
    return tuple(words)
