"""Rules of `train-step` on the order of a loop, and on what stands before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recipe_check.probes.loops import Event, Training

from ._loop_places import depends_on_mode, learns, of_kinds, place
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab


def cleared_before_step(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A step whose nearest event before it, of its own optimizer, clears the gradients.

    The loop is read as a circle, so that a step at the top of it belongs to the round before.
    """
    order = [e for e in of_kinds(loop, "zero", "backward", "step") if not e.guard]
    owners = {e.owner for e in order if e.kind == "step"}
    if len(owners) != 1 or any(_has_closure(e) for e in order):
        return
    owner = next(iter(owners))
    mine = [e for e in order if e.kind != "zero" or e.owner == owner]
    kinds = [e.kind for e in mine]
    if not {"zero", "backward", "step"} <= set(kinds):
        return
    for number, event in enumerate(mine):
        if event.kind == "step" and kinds[number - 1] == "zero":
            yield Slip(
                "gradients are cleared before the step",
                "zero_grad() stands between backward() and step(): the step sees no gradient",
                "zero_grad(), then backward(), then step()",
                place(mine[number - 1] if number else event),
                certain=True,
            )
            return


def _has_closure(event: Event) -> bool:
    return event.kind == "step" and isinstance(event.node, ast.Call) and bool(event.node.args)


def evaluates_from_the_start(loop: Training, lab: Lab) -> Iterator[Slip]:
    """The last mode that is set before the loop is eval, and nothing in it says train."""
    events = list((loop.epoch or loop.batch).events())
    called = {e.owner for e in loop.batch.events() if e.kind == "forward"}
    if any(e.kind in ("train", "eval") for e in events):
        return
    modes = [e for e in loop.before if e.kind in ("train", "eval") and e.owner in called
             and learns(loop, e.owner)]  # fmt: skip
    if not modes or modes[-1].kind != "eval":
        return
    matters = any(depends_on_mode(m) for m in lab.subject.original.model.modules())
    yield Slip(
        "the model stays in eval mode",
        f"`{modes[-1].owner}` is in eval mode while it trains: dropout and batch statistics are "
        "off",
        f"call {modes[-1].owner}.train() before the loop",
        place(modes[-1]),
        certain=matters,
    )


def optimizer_anew(loop: Training, lab: Lab) -> Iterator[Slip]:
    """An optimizer that is made in the loop over batches forgets its moments at every step."""
    steps = {e.owner for e in of_kinds(loop, "step")}
    for event in loop.batch.events(nested=False):
        value = getattr(event.node, "value", None)
        built = event.kind == "assign" and not event.guard and event.owner in steps
        if built and isinstance(value, ast.Call) and "param" in ast.unparse(value):
            yield Slip(
                "the optimizer is made anew at every step",
                f"`{event.owner}` is built inside the loop over batches: momentum and second "
                "moments never build up",
                "build the optimizer once, before the loop",
                place(event),
                certain=False,
            )
            return


def trains_on_validation(loop: Training, lab: Lab) -> Iterator[Slip]:
    """The only loop that trains reads the validation loader."""
    words = [n.id for n in ast.walk(_parsed(loop.batch.header)) if isinstance(n, ast.Name)]
    validating = [w for w in words if w.startswith(("val", "test")) and "load" in w]
    others = [t for t in lab.training_loops if t.batch.line != loop.batch.line]
    if lab.subject.val_loader is None or not validating or others:
        return
    first = next(loop.batch.events())
    yield Slip(
        "the training loop reads the validation data",
        f"the loop that trains runs over `{validating[0]}`",
        "train on the training loader",
        place(Event("loop", "", first.file, loop.batch.line, 1)),
        certain=False,
    )


def _parsed(header: str) -> ast.AST:
    try:
        return ast.parse(header, mode="eval")
    except SyntaxError:
        return ast.parse("None", mode="eval")
