"""Rules of `train-step` on what a script really did over its first steps, in order.

Each rule takes the events of one optimizer (by its number in `Event.held`) and demands that what it
finds happened more than once: a first step may differ, and so may the last group of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from recipe_check import Location
from recipe_check.probes.rerun import Event, Held, Recorded

from ._rerun_course import ANYTHING, Course
from ._rerun_scale import clipped_scaled, stepped_scaled
from .train_step import Slip

TWICE = 2
SURE = 3  # steps without any gradient
UNUSED = 16  # backward passes, after none of which anything has stepped


def slips_of(seen: Recorded) -> tuple[Slip, ...]:
    """All that was out of order, of all optimizers."""
    courses = [Course(number, held, seen) for number, held in enumerate(seen.optimizers)]
    if any(event.kind == "update" for event in seen.events):
        courses.append(Course(ANYTHING, Held(kind=""), seen))
    found = [slip for course in courses for slip in _slips(course)]
    return tuple({(slip.title, str(slip.location)): slip for slip in found}.values())


def _slips(course: Course) -> tuple[Slip, ...]:
    """Where there never was a gradient, nothing else can be said."""
    nothing = tuple(without_gradient(course))
    return nothing or tuple(slip for rule in RULES for slip in rule(course))


def not_cleared(course: Course) -> Iterator[Slip]:
    later = course.ends[1:]
    stale = [event.stale for event in later if event.stale is not None]
    if len(stale) < TWICE or 2 * len(stale) < len(later):
        return
    yield Slip(
        "gradients are not cleared (zero_grad missing)",
        f"{len(stale)} of {len(later)} steps used gradients to which an earlier step had been "
        "taken already: backward() adds to what is there",
        "call optimizer.zero_grad() before each loss.backward()",
        stale[0],
        certain=True,
    )


def cleared_before_step(course: Course) -> Iterator[Slip]:
    steps = [event for event in course.ends if not event.bound]
    if len(steps) < TWICE or not all(event.empty for event in steps):
        return
    cleared = [zero for group in course.groups if (zero := _cleared_late(group)) is not None]
    if len(cleared) >= TWICE:
        yield Slip(
            "gradients are cleared before the step",
            "zero_grad() stands between backward() and step(): the step sees no gradient",
            "zero_grad(), then backward(), then step()",
            cleared[0].place,
            certain=True,
        )


def _cleared_late(group: Sequence[Event]) -> Event | None:
    """The zero_grad after the last backward of a step."""
    kinds = [event.kind for event in group]
    if "backward" not in kinds:
        return None
    last = len(kinds) - 1 - kinds[::-1].index("backward")
    return next((event for event in group[last:] if event.kind == "zero"), None)


def without_gradient(course: Course) -> Iterator[Slip]:
    """No step ever had a gradient, and no backward() reached what the optimizer holds."""
    steps = course.ends
    reached = any(event.kind == "backward" for event in course.events)
    if len(steps) < SURE or not all(s.empty and not s.bound for s in steps) or reached:
        return
    if course.number == ANYTHING:
        return
    backwards = [event for event in course.whole.events if event.kind == "backward"]
    if any(event.missed for event in backwards):
        yield Slip(
            "the optimizer holds other weights than the model",
            f"none of the {course.held.tensors} tensors that {course.held.kind} holds gets a "
            "gradient; backward() reaches weights that no optimizer holds",
            "build the optimizer from the parameters of the model that is trained, after it was "
            "made for good",
            course.held.place,
            certain=True,
        )
        return
    place = backwards[0].place if backwards else steps[0].place
    yield Slip(
        "backward() reaches no weight of the optimizer",
        f"{course.held.kind} stepped {len(steps)} times and never had a gradient: what backward() "
        "is called on does not depend on its weights",
        "call backward() on the loss as it came from the model: no detach, item, numpy or new "
        "tensor in between",
        place,
        certain=True,
    )


def clipped_late(course: Course) -> Iterator[Slip]:
    clips = [event for event in course.events if event.kind == "clip"]
    if any(not event.used and not event.empty for event in clips):
        return
    used = [event for event in clips if event.used]
    cleared = [
        event for number, event in enumerate(course.events)
        if event.kind == "clip" and event.empty and _follows_step(course.events[:number])
    ]  # fmt: skip
    if len(used) < TWICE and len(cleared) < TWICE:
        return
    yield Slip(
        "gradients are clipped after the step",
        "gradients are clipped after optimizer.step() has used them: the clipping does nothing",
        "clip between loss.backward() and optimizer.step()",
        (used or cleared)[0].place,
        certain=True,
    )


def _follows_step(events: Sequence[Event]) -> bool:
    """Whether the last that happened, clearing left out, was a step."""
    kinds = [event.kind for event in events if event.kind in ("backward", "step")]
    return bool(kinds) and kinds[-1] == "step"


def schedules_first(course: Course) -> Iterator[Slip]:
    kinds = [event.kind for event in course.events]
    scaled = any(event.scale > 1.0 for event in course.events)  # its first step may be left out
    if "schedule" not in kinds or "step" not in kinds or scaled:
        return
    first = course.events[kinds.index("schedule")]
    if first.bound or kinds.index("step") < kinds.index("schedule"):
        return
    yield Slip(
        "the scheduler steps before the optimizer",
        "scheduler.step() ran before the first optimizer.step(): the first rate is skipped",
        "call scheduler.step() after optimizer.step()",
        first.place,
        certain=False,
    )


def stays_in_eval(course: Course) -> Iterator[Slip]:
    """Steps all of whose backward passes went through a model in eval mode."""
    modes = [_in_eval(group) for group in course.groups]
    known = [mode for mode in modes if mode is not None]
    if len(known) < TWICE or not known[-1] or not known[-2]:
        return
    began = modes.index(True)
    name = next(e.evaluating for e in course.groups[began] if e.evaluating)
    before = [e for group in course.groups[: began + 1] for e in group]
    switched = [event for event in before if event.kind == "eval"]
    later = any(mode is False for mode in known)
    since = f"from step {began + 1} on" if later else "from the first step on"
    place = switched[-1].place if switched else _first_backward(course.groups[began])
    yield Slip(
        "the model stays in eval mode",
        f"{name} is in eval mode while it trains, {since}: dropout and batch statistics are off",
        "call model.train() before the steps, and again after every evaluation",
        place,
        certain=bool(switched),
    )


def _in_eval(group: Sequence[Event]) -> bool | None:
    backwards = [event for event in group if event.kind == "backward"]
    return all(event.evaluating for event in backwards) if backwards else None


def _first_backward(group: Sequence[Event]) -> Location | None:
    return next((event.place for event in group if event.kind == "backward"), None)


def undivided(course: Course) -> Iterator[Slip]:
    sizes = [size for group in course.groups if (size := _added_up(group)) > 1]
    if len(sizes) < TWICE or 2 * len(sizes) < len(course.groups):
        return
    hidden = f" ({course.held.kind} hides most of it by its own scaling)"
    yield Slip(
        "accumulated gradients are not divided",
        f"gradients of {max(sizes)} batches are added up and the loss is not divided by their "
        f"number: the learning rate is {max(sizes)} times larger"
        + (hidden if course.scale_free else ""),
        "divide the loss by the number of accumulated batches before backward()",
        _first_backward(next(g for g in course.groups if _added_up(g) > 1)),
        certain=False,
    )


def _added_up(group: Sequence[Event]) -> int:
    """How many batches a step's gradients are the sum of; 0 where anything divides them."""
    backwards = [event for event in group if event.kind == "backward"]
    places = {str(event.place) for event in backwards}
    clipped = any(event.kind == "clip" for event in group)
    fresh = all(event.new_data for event in backwards)
    at = [number for number, event in enumerate(group) if event.kind == "backward"]
    cleared = bool(at) and any(event.kind == "zero" for event in group[at[0] : at[-1]])
    divided = any(event.divided for event in backwards) or (group[-1].changed and not clipped)
    return 0 if divided or cleared or not fresh or len(places) != 1 else len(backwards)


def never_steps(course: Course) -> Iterator[Slip]:
    backwards = [event for event in course.events if event.kind == "backward"]
    steps = any(event.kind in ("step", "update") for event in course.whole.events)
    if steps or course.held.moved or len(backwards) < UNUSED:
        return
    yield Slip(
        "the optimizer never steps",
        f"{len(backwards)} backward passes, and no optimizer.step() used them: "
        f"none of the {course.held.tensors} tensors has changed",
        "call optimizer.step() after loss.backward()",
        backwards[0].place,
        certain=course.number != ANYTHING,
    )


RULES: tuple[Callable[[Course], Iterator[Slip]], ...] = (
    not_cleared, cleared_before_step, clipped_late, clipped_scaled, stepped_scaled,
    stays_in_eval, never_steps, undivided, schedules_first,
)  # fmt: skip
