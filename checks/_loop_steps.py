"""Rules of `train-step` on what is done with the gradients: cleared, clipped, divided, used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recipe_check.probes.loops import Event, Training

from ._loop_places import hands_over, of_kinds, place
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab

_OTHERS = frozenset({"kl", "beta", "noise", "temp", "temperature", "tau", "ratio", "teacher", "eps",
                     "epsilon", "curriculum", "mask", "weight", "ema", "alpha", "lambda", "gamma",
                     "forcing", "sampling", "drop", "dropout", "sigma", "entropy"})  # fmt: skip
SCALE_FREE = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "Lion")


def never_cleared(loop: Training, lab: Lab) -> Iterator[Slip]:
    steps = of_kinds(loop, "step")
    if (
        not steps
        or not of_kinds(loop, "backward")
        or of_kinds(loop, "zero")
        or hands_over(loop, "opt")
    ):
        return
    outside = [e for e in loop.epoch.events() if e.kind == "zero"] if loop.epoch else []
    if outside and all(e.guard and not _every_nth(e.guard) for e in steps):
        return
    when = "only once an epoch" if outside else "never"
    yield Slip(
        "gradients are not cleared (zero_grad missing)",
        f"gradients are cleared {when}, and every step adds to those before it",
        "call optimizer.zero_grad() before each loss.backward()",
        place(outside[0] if outside else of_kinds(loop, "backward")[0]),
        certain=True,
    )


def _every_nth(guard: str) -> bool:
    """Whether a condition holds several times an epoch: `i % 4 == 0`, no comparison with a
    length."""
    return "%" in guard and "len(" not in guard


def clipped_late(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A clip right after a step and not right before another one, the loop read as a circle."""
    order = of_kinds(loop, "backward", "clip", "step")
    kinds = [e.kind for e in order if e.kind != "clip"]
    if not {"step", "backward"} <= set(kinds):
        return
    place_in_kinds = 0
    for event in order:
        if event.kind != "clip":
            place_in_kinds += 1
        elif kinds[place_in_kinds - 1] == "step" != kinds[place_in_kinds % len(kinds)]:
            yield Slip(
                "gradients are clipped after the step",
                "gradients are clipped after optimizer.step() has used them: the clipping does "
                "nothing",
                "clip between loss.backward() and optimizer.step()",
                place(event),
                certain=True,
            )
            return


def undivided(loop: Training, lab: Lab) -> Iterator[Slip]:
    steps, backwards = of_kinds(loop, "step"), of_kinds(loop, "backward")
    inner = [e for e in loop.batch.events(nested=False) if e.kind == "backward"]
    alone = {e.guard for e in backwards}  # every n-th batch a step of its own (WGAN's generator)
    every = any("%" in e.guard and e.guard not in alone for e in steps)
    if any("retain_graph" in ast.unparse(e.node) for e in backwards):
        return  # several losses of one pass
    if not backwards or not steps or not (every or not inner):
        return
    if _divides(loop, backwards) or hands_over(loop, "accelerator"):
        return
    optimizer = type(lab.subject.original.optimizer).__name__
    harmless = optimizer in SCALE_FREE
    note = f" ({optimizer} hides most of it by its own scaling)" if harmless else ""
    yield Slip(
        "accumulated gradients are not divided",
        "gradients of several batches are added up and the loss is not divided by their number: "
        f"the learning rate is that many times larger{note}",
        "divide the loss by the number of accumulated batches before backward()",
        place(backwards[0]),
        certain=False,
    )


def _divides(loop: Training, backwards: list[Event]) -> bool:
    """Whether what backward is called on, or the gradients, are divided anywhere in the file."""
    if any("/" in e.owner or "*" in e.owner for e in backwards):
        return True
    scored = [part for e in backwards for part in _scored(e)]
    names = {ast.unparse(n) for part in scored for n in ast.walk(part)
             if isinstance(n, ast.Name | ast.Attribute)}  # fmt: skip
    tree = ast.parse(backwards[0].file.read_text(encoding="utf-8"))
    made: list[ast.expr] = [part for part in scored if not isinstance(part, ast.Name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div | ast.Mult):
            target = ast.unparse(node.target)
            if target in names or "grad" in target:
                return True
        if isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0])
            if target in names or "grad" in target:
                made.append(node.value)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".div_", ".mul_")):
            return True
    called = {ast.unparse(n.func).rsplit(".", 1)[-1] for value in made for n in ast.walk(value)
              if isinstance(n, ast.Call)}  # fmt: skip
    returned = [
        part for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in called
        for part in ast.walk(node) if isinstance(part, ast.Return | ast.Assign | ast.AugAssign)
    ]  # fmt: skip
    divided = {ast.unparse(t) for n in ast.walk(tree) if isinstance(n, ast.Assign)
               and isinstance(n.value, ast.BinOp) and isinstance(n.value.op, ast.Div)
               for t in n.targets}  # fmt: skip
    factors = {ast.unparse(side) for part in made for n in ast.walk(part)
               if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mult)
               for side in (n.left, n.right)}  # fmt: skip
    if factors & divided:
        return True
    return any(isinstance(n, ast.Div) for part in (*made, *returned) for n in ast.walk(part))


def _scored(event: Event) -> list[ast.expr]:
    """What a backward call is made on: `loss` of `scaler.scale(loss).backward()` and of
    `accelerator.backward(loss)`, in the words of the file."""
    node = event.node
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return []
    return [node.func.value, *node.args, *(k.value for k in node.keywords)]


def schedules_first(loop: Training, lab: Lab) -> Iterator[Slip]:
    kinds = [e for e in of_kinds(loop, "schedule", "step") if not e.guard and not _of_no_rate(e)]
    if not kinds or kinds[0].kind != "schedule" or not any(e.kind == "step" for e in kinds):
        return
    yield Slip(
        "the scheduler steps before the optimizer",
        "scheduler.step() runs before the first optimizer.step(): the first rate is skipped",
        "call scheduler.step() after optimizer.step()",
        place(kinds[0]),
        certain=False,
    )


def _of_no_rate(event: Event) -> bool:
    """Whether a scheduler is of something else: the weight of a term, noise, teacher forcing."""
    words = event.owner.rsplit(".", 1)[-1].lower().split("_")
    return event.kind == "schedule" and bool(_OTHERS & set(words))


def never_steps(loop: Training, lab: Lab) -> Iterator[Slip]:
    zeros = [e for e in of_kinds(loop, "zero") if "opt" in e.owner.lower()]
    if of_kinds(loop, "step") or not zeros or hands_over(loop, "opt", "scaler"):
        return
    if any(e.owner.endswith("no_grad") for e in loop.batch.events()) or _steps_otherwise(loop):
        return
    yield Slip(
        "the optimizer never steps",
        "gradients are computed and cleared, and no optimizer.step() uses them",
        "call optimizer.step() after loss.backward()",
        place(of_kinds(loop, "backward")[0]),
        certain=True,
    )


def _steps_otherwise(loop: Training) -> bool:
    """Whether anything that is no scheduler has its `step` or `optimizer_step` called in the
    user's functions: an engine, or a wrapper around the optimizer."""
    files = {e.file for e in loop.batch.events()}
    nodes = [n for f in files for n in ast.walk(ast.parse(f.read_text(encoding="utf-8")))]
    calls = [n.func for n in nodes if isinstance(n, ast.Call)]
    steps = [f for f in calls if isinstance(f, ast.Attribute)
             and f.attr in ("step", "optimizer_step")]  # fmt: skip
    return any("sched" not in ast.unparse(f.value).lower() for f in steps)
