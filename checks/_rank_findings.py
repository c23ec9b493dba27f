"""What is wrong with the gradients of several ranks, in words; of `rank-gradients`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipe_check import Location, Status

if TYPE_CHECKING:
    from .rank_gradients import RankStep, Steps


@dataclass(frozen=True)
class Finding:
    """What is wrong with the steps, in words."""

    status: Status
    message: str
    fix: str
    cause: str = ""
    location: Location | None = None


def around_it(seen: Steps) -> Finding | None:
    """The source, or the step that is run, does not go through the wrapper."""
    if seen.bypass is not None or any(not step.through for step in seen.joined):
        what = "loop" if seen.bypass is not None else "step"
        return Finding(
            Status.FAIL,
            f"the training {what} calls `module` inside DistributedDataParallel, whose own call "
            "prepares the averaging: every rank keeps its own gradients",
            "call model(x), not model.module(x)",
            "the module inside the wrapper is called",
            seen.bypass,
        )
    if seen.unsynced is not None:
        return Finding(
            Status.FAIL,
            "every backward pass of the training loop stands in no_sync(): gradients are never "
            "averaged",
            "leave no_sync() for the last backward pass before each step",
            "no_sync() around every backward pass",
            seen.unsynced,
        )
    return None


def unused_in(seen: Steps) -> Finding | None:
    """A parameter without a gradient, which the wrapper waits for."""
    unused = without_gradient(seen.local)
    if not unused or seen.unused_allowed:
        return None
    everywhere = set.intersection(*unused)
    lacking = everywhere or set.union(*unused)
    names = [g.name for g in seen.local[0].gradients if g.name in lacking]
    get = "get" if len(names) > 1 else "gets"
    cause = "parameters that take no part in the loss, without find_unused_parameters=True"
    fix = "leave unused layers out of the model, or pass find_unused_parameters=True to the wrapper"
    if not everywhere:
        rank = next(number for number, found in enumerate(unused) if names[0] in found)
        text = (
            f"`{names[0]}`{more(names)} {get} no gradient on rank {rank} and one on another: the "
            "ranks would wait for each other without end"
        )
        return Finding(Status.FAIL, text, fix, cause, seen.location)
    raised = next((step.unfinished for step in seen.joined if step.unfinished), "")
    text = f"`{names[0]}`{more(names)} {get} no gradient, which DistributedDataParallel waits for"
    if raised:
        text += f": the second step raises “{raised}”"
    return Finding(Status.FAIL if raised else Status.WARN, text, fix, cause, seen.location)


def without_gradient(steps: Sequence[RankStep]) -> list[set[str]]:
    """Parameters without a gradient on each rank; empty where there are none at all."""
    found = [{g.name for g in step.gradients if g.norm is None} for step in steps]
    return found if any(found) else []


def gradients_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the gradient of `{names[0]}` differs"
    return f"the gradients of `{names[0]}`{more(names)} differ"


def more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
