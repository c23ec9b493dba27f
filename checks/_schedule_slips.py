"""What is wrong with a scheduler whatever its rates are: never stepped, of another optimizer, or
looking the wrong way."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

import torch

from recipe_check.probes.loops import Event, user_files

from ._loop_best import FALLS, RISES
from ._loop_tree import trees

if TYPE_CHECKING:
    from recipe_check import Lab

_STEPPED = re.compile(r"sched\w*(\[\w+\]|\(\))?\.step\(", re.IGNORECASE)
Slip = tuple[str, str]  # what is wrong, and what to do
NEVER_STEPPED = ("no line of the training loop steps it", "call scheduler.step() once an epoch")
FOREIGN = (
    "it changes the rate of another optimizer than the one that trains",
    "build the scheduler from the optimizer that the loop steps",
)
WRONG_WAY = (
    "its mode is 'max', and it is given a loss: the rate falls while the loss improves",
    "use mode='min' for a loss",
)
WRONG_SCORE = (
    "its mode is 'min', and it is given a score: the rate falls while the score improves",
    "use mode='max' for a score",
)


def schedule_slip(lab: Lab) -> Slip | None:
    """What is wrong with the scheduler, None for nothing. No pass of the model."""
    scheduler, optimizer = lab.subject.original.scheduler, lab.subject.original.optimizer
    if _is_foreign(scheduler, optimizer):
        return FOREIGN
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        return _wrong_mode(lab, scheduler.mode)
    return NEVER_STEPPED if lab.subject.stepping is None and _is_idle(lab) else None


def _is_foreign(scheduler: Any, optimizer: torch.optim.Optimizer | None) -> bool:
    """Whether its optimizer is another one that holds the same weights."""
    own: Any = getattr(scheduler, "optimizer", None)
    if optimizer is None or own is optimizer or not isinstance(own, torch.optim.Optimizer):
        return False
    held, other = (
        {id(p) for group in o.param_groups for p in group["params"]} for o in (optimizer, own)
    )
    return bool(held & other)


def _wrong_mode(lab: Lab, mode: str) -> Slip | None:
    """Compares the mode with the name of what the loop gives to step()."""
    for event in _schedules(lab):
        given = event.node.args[:1] if isinstance(event.node, ast.Call) else []
        text = ast.unparse(given[0]).lower() if given else ""
        falls, rises = (any(word in text for word in words) for words in (FALLS, RISES))
        negated = text.startswith("-") or text.startswith("1 -")
        if falls != rises and not negated:
            if mode == "max" and falls:
                return WRONG_WAY
            if mode == "min" and rises:
                return WRONG_SCORE
    return None


def _schedules(lab: Lab) -> list[Event]:
    return [e for loop in lab.training_loops for e in (loop.epoch or loop.batch).events()
            if e.kind == "schedule"]  # fmt: skip


def _is_idle(lab: Lab) -> bool:
    """Whether loops were found, none of them steps a scheduler, and none is handed one."""
    loops = lab.training_loops
    if not loops or _schedules(lab):
        return False
    if any(_STEPPED.search(f.read_text(encoding="utf-8")) for f in user_files(lab.subject.file)):
        return False
    calls = [c for loop in loops for tree in trees(loop) for c in tree.walk(ast.Call)
             if isinstance(c, ast.Call)]  # fmt: skip
    given = (
        ast.unparse(a).lower() for c in calls for a in (*c.args, *(k.value for k in c.keywords))
    )
    if any("sched" in text.replace("lr_scheduler.", "") for text in given):
        return False  # another function may step it
    owners = [ast.unparse(c.func.value).lower() for c in calls
              if isinstance(c.func, ast.Attribute) and c.func.attr == "step"]  # fmt: skip
    return bool(owners) and all("opt" in owner or "scaler" in owner for owner in owners)
