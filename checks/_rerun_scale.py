"""Rules of `train-step` on a GradScaler's factor, in what a script really did."""

from __future__ import annotations

from collections.abc import Iterator

from recipe_check.probes.rerun import Event

from ._rerun_course import Course
from .train_step import Slip

TWICE = 2


def clipped_scaled(course: Course) -> Iterator[Slip]:
    found: list[Event] = []
    scale = 1.0
    for event in course.events:
        if event.kind == "backward":
            scale = event.scale
        elif event.kind in ("unscale", "step"):
            scale = 1.0
        elif event.kind == "clip" and scale > 1.0:
            found.append(event)
    if len(found) < TWICE:
        return
    yield Slip(
        "scaled gradients are clipped",
        "gradients are clipped while they are multiplied by the factor of the GradScaler: the "
        "bound is thousands of times too tight",
        "call scaler.unscale_(optimizer) before clipping",
        found[0].place,
        certain=not course.scale_free,
    )


def stepped_scaled(course: Course) -> Iterator[Slip]:
    """The optimizer's own step() on gradients that nothing has unscaled."""
    found: list[Event] = []
    scale = 1.0
    for event in course.events:
        if event.kind == "backward":
            scale = event.scale
        elif event.kind == "unscale":
            scale = 1.0
        elif event.kind == "step" and scale > 1.0 and not event.changed:
            found.append(event)
    if len(found) < TWICE:
        return
    yield Slip(
        "the optimizer steps with scaled gradients",
        "optimizer.step() uses gradients that are still multiplied by the factor of the GradScaler",
        "call scaler.step(optimizer) and scaler.update()",
        found[0].place,
        certain=not course.scale_free,
    )
