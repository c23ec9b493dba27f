"""Rules of `train-step` on the size of a step: clipping, loss scaling, accumulation, rates."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING

from recipe_check.errors import UserCodeError
from recipe_check.probes.loops import Event, Training

from ._loop_places import hands_over, of_kinds, place
from ._loop_steps import SCALE_FREE
from ._loop_tree import Tree, called, number, trees
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab

TINY = 1e-3  # of the gradient's norm at the start; published bounds are 0.1 to 10, norms 0.1 to 10
EPOCHS = 10  # where the loop does not say


def clips_everything_away(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A bound far below the gradient makes every step as small as the bound."""
    for event in of_kinds(loop, "clip"):
        tree = next((t for t in trees(loop) if t.file == event.file), None)
        bound = _bound(event, tree) if tree is not None else None
        if bound is None or bound < 0:
            continue
        norm, size = _gradient(lab)
        by_value = "value" in ast.unparse(event.node).split("(")[0]
        most = bound * math.sqrt(size) if by_value else bound
        if not (bound == 0 or (bound < TINY and 0 < most < TINY * norm)):
            continue
        free = type(lab.subject.original.optimizer).__name__ in SCALE_FREE
        left = f"to {most / norm:.0e} of its size" if norm else "to nothing"
        yield Slip(
            "gradients are clipped to almost nothing",
            f"gradients are clipped at {bound:g}, every one of them {left}"
            + (": Adam's scaling hides most of it" if free and bound else ""),
            "clip at about the norm of a usual gradient (1.0)",
            place(event),
            certain=bound == 0 or not free,
        )


def _bound(event: Event, tree: Tree) -> float | None:
    if not isinstance(event.node, ast.Call):
        return None
    named = [k.value for k in event.node.keywords if k.arg in ("max_norm", "clip_value")]
    given = named or event.node.args[1:2]
    return number(given[0], tree) if given else None


def _gradient(lab: Lab) -> tuple[float, int]:
    """Norm of the whole gradient on the first batch, and how many numbers it has."""
    try:
        gradients = lab.trace.gradients
    except UserCodeError:
        return 0.0, 0
    norms = [g.norms[0] or 0.0 for g in gradients if g.norms]
    return math.hypot(*norms), sum(math.prod(g.shape) for g in gradients)


def clips_another_model(loop: Training, lab: Lab) -> Iterator[Slip]:
    """The parameters that are clipped are none of an optimizer's."""
    held = {root for tree in trees(loop) for root in _optimized(tree)}
    for event in of_kinds(loop, "clip"):
        call = event.node
        if not isinstance(call, ast.Call) or not call.args or not held:
            continue
        root = ast.unparse(call.args[0]).removesuffix(".parameters()")
        if root == ast.unparse(call.args[0]):
            continue
        forwards = {e.owner for e in of_kinds(loop, "forward")}
        made = {ast.unparse(t) for tree in trees(loop) for n in tree.walk(ast.Assign)
                if isinstance(n, ast.Assign) and tree.function(n) is tree.module
                for t in n.targets}  # fmt: skip
        if root in made and root not in held | forwards and held & forwards:
            yield Slip(
                "another model's gradients are clipped",
                f"`{root}` is clipped, and the optimizer holds those of {', '.join(sorted(held))}",
                "clip the parameters that the optimizer holds",
                place(event),
                certain=False,
            )


def _optimized(tree: Tree) -> Iterator[str]:
    """Names whose parameters are given to something."""
    for call in tree.calls("parameters"):
        around = next((a for a in tree.above(call) if isinstance(a, ast.Call)), None)
        kept = around is not None and "clip" not in ast.unparse(around.func)
        if kept and isinstance(call.func, ast.Attribute):
            yield ast.unparse(call.func.value)


def scaler_slips(loop: Training, lab: Lab) -> Iterator[Slip]:
    """GradScaler: clip only what was unscaled, and update the scale after the step."""
    calls = [e for e in loop.batch.events() if isinstance(e.node, ast.Call)]
    scales = [e for e in calls if "scaler" in e.owner.lower()]
    if not any(called(e.node) == "scale" for e in scales if isinstance(e.node, ast.Call)):
        return
    names = {called(e.node) for e in scales if isinstance(e.node, ast.Call)}
    clips = [e for e in of_kinds(loop, "clip") if "scaler" not in e.owner.lower()]
    if clips and "unscale_" not in names and not hands_over(loop, "scaler"):
        yield Slip(
            "scaled gradients are clipped",
            "gradients are clipped while they are still multiplied by the loss scale: the bound "
            "is thousands of times too tight",
            "call scaler.unscale_(optimizer) before clipping",
            place(clips[0]),
            certain=True,
        )
    plain = [e for e in of_kinds(loop, "step") if e not in scales]
    if plain and not names & {"step", "unscale_"} and not hands_over(loop, "scaler"):
        yield Slip(
            "the optimizer steps with scaled gradients",
            "scaler.scale(loss).backward(), and then the optimizer's own step(): the gradients are "
            "still multiplied by the loss scale (65536 at first)",
            "call scaler.step(optimizer) and scaler.update()",
            place(plain[0]),
            certain=True,
        )
    steps = [e for e in scales if e.kind == "step"]
    if steps and "update" not in names and not hands_over(loop, "scaler"):
        yield Slip(
            "the loss scale is never updated",
            "scaler.step() without scaler.update(): the scale stays at its first value, and steps "
            "that overflow stay skipped",
            "call scaler.update() after scaler.step()",
            place(steps[0]),
            certain=True,
        )


def throws_gradients_away(loop: Training, lab: Lab) -> Iterator[Slip]:
    """Gradients of most batches are cleared before any step uses them."""
    zeros, steps = of_kinds(loop, "zero"), of_kinds(loop, "step")
    owners = {e.owner for e in steps}
    if steps and all("%" in e.guard for e in steps):
        early = [e for e in zeros if not e.guard and e.owner in owners]
        if early and any(not e.guard for e in of_kinds(loop, "backward")):
            yield _thrown(early[0], "cleared at every batch, and only every n-th takes a step")
    direct = {e.kind for e in loop.batch.events(nested=False)}
    for part in loop.batch.body:
        if isinstance(part, Event) or "zero" in direct or "step" not in direct:
            continue
        cleared = any(e.kind == "zero" and e.owner in owners for e in part.events())
        if cleared and "step" not in part.kinds():
            late = "backward" if "backward" in direct else "step"
            event = next(e for e in loop.batch.events(nested=False) if e.kind == late)
            yield _thrown(event, f"cleared at every batch, and {late}() comes after the loop")


def _thrown(event: Event, how: str) -> Slip:
    return Slip(
        "most gradients are thrown away",
        f"gradients are {how}: only the last batch counts",
        "clear, backward and step at every batch, or clear only after the step",
        place(event),
        certain=True,
    )


def unused_optimizer(loop: Training, lab: Lab) -> Iterator[Slip]:
    """One of several optimizers is cleared and never steps."""
    steps = of_kinds(loop, "step")
    zeros = [e for e in of_kinds(loop, "zero") if "optim" in e.owner.lower()]
    idle = [e for e in zeros if e.owner not in {s.owner for s in steps}]
    if not steps or hands_over(loop, "opt", "scaler") or any("scaler" in s.owner for s in steps):
        return
    text = "\n".join(tree.file.read_text(encoding="utf-8") for tree in trees(loop))
    for event in idle:
        if f"{event.owner}.step" not in text and f"{event.owner} =" in text:
            yield Slip(
                "one of the optimizers never steps",
                f"`{event.owner}` is cleared and its step() is never called",
                f"call {event.owner}.step(), too",
                place(event),
                certain=False,
            )


def decays_by_hand(loop: Training, lab: Lab) -> Iterator[Slip]:
    """`group["lr"] *= 0.9` at every batch."""
    for tree in trees(loop):
        for node in tree.walk(ast.AugAssign):
            if not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Mult):
                continue
            around = [n.lineno for n in tree.loops(node)]
            factor = number(node.value, tree)
            rate = ast.unparse(node.target).endswith(("['lr']", '["lr"]'))
            guarded = any(isinstance(a, ast.If) for a in tree.above(node)
                          if getattr(a, "lineno", 0) > loop.batch.line)  # fmt: skip
            if not rate or factor is None or loop.batch.line not in around or guarded:
                continue
            steps = _steps(loop, lab)
            if 0 < factor < 1 and steps > 2 * math.log(0.01) / math.log(factor):
                yield Slip(
                    "the rate decays at every batch",
                    f"the learning rate is multiplied by {factor:g} at every batch: after half of "
                    f"the {steps} steps less than a hundredth of it is left",
                    "decay once an epoch, or by a factor nearer to 1",
                    place(tree.event(node)),
                    certain=False,
                )


def _steps(loop: Training, lab: Lab) -> int:
    """Batches of the whole training."""
    loader = lab.subject.loader
    batches = len(loader) if isinstance(loader, Sized) else len(lab.train_batches)
    epochs = loop.epoch.count if loop.epoch else 1
    return (loop.batch.count or batches) * (epochs or EPOCHS)
