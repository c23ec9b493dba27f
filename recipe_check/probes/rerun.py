"""A captured script run once more in a process of its own: what is asked for, what was seen.

Plain values, which cross a process boundary. Nothing here knows torch.
"""

from __future__ import annotations

from typing import Literal

from recipe_check.values import Location, Value

Hold = Literal["", "batch", "inputs"]


class Script(Value, frozen=True, kw_only=True):
    """How to start a script again; `seconds` is what it took to its first step, `why` says why
    that step cannot be computed again from its parts, '' where it can."""

    target: str
    arguments: tuple[str, ...] = ()
    root: str = ""
    folder: str = "."
    seed: int = 0
    seconds: float = 0.0
    why: str = ""


class Wanted(Value, frozen=True, kw_only=True):
    """One run. `hold` is what stays the same: "batch", the first one again and again; "inputs",
    zeros (for whole numbers a constant) wherever data enter a module.

    `rate` is that of an Adam that steps in the place of the script's optimizers, 0 for their own.
    With `order` the run ends once a second epoch has begun, and loaders end after a few batches.
    """

    script: Script
    hold: Hold = ""
    rate: float = 0.0
    order: bool = False
    steps: int = 100
    seconds: float = 8.0  # after the first loss


class Event(Value, frozen=True, kw_only=True):
    """One thing that the script did: `kind` is epoch, backward, zero, clip, unscale, step,
    schedule, train, eval or update (weights that changed without an optimizer).

    `place` is the user's line, `held` the optimizers whose parameters it touched.
    """

    kind: str
    place: Location | None = None
    held: tuple[int, ...] = ()
    new_data: bool = False  # backward: a DataLoader has given a batch since the one before
    divided: bool = True  # backward: the loss was divided or multiplied before
    scale: float = 1.0  # backward: the factor of a GradScaler in the loss
    evaluating: str = ""  # backward: the class of a model that trains and is in eval mode
    missed: bool = False  # backward: it reached parameters that no optimizer holds, and only them
    empty: bool = False  # step, clip: every gradient is missing or zero
    used: bool = False  # clip: a step has used these gradients already
    changed: bool = False  # step: gradients are not as backward() left them (divided, clipped)
    stale: Location | None = None  # step: a backward() that added to gradients used before
    bound: bool = False  # step, schedule: called with arguments, such as a closure


class Reading(Value, frozen=True, kw_only=True):
    """A loss at whose line backward() was called, during a step (they count from 0)."""

    step: int
    line: str
    value: float


class Held(Value, frozen=True, kw_only=True):
    """An optimizer of the script: `tensors` that it holds and how many of them have changed."""

    kind: str
    place: Location | None = None
    tensors: int = 0
    moved: int = 0


class Norms(Value, frozen=True, kw_only=True):
    """The gradients of one tensor before each of the first steps, None where there was none."""

    name: str
    shape: tuple[int, ...]
    weight: float
    norms: tuple[float | None, ...]


class Recorded(Value, frozen=True, kw_only=True):
    """What one run did. `ended` says why it was over: steps, time, end, or what it raised."""

    ended: str = ""
    steps: int = 0
    epochs: int = 0
    events: tuple[Event, ...] = ()
    optimizers: tuple[Held, ...] = ()
    readings: tuple[Reading, ...] = ()
    norms: tuple[Norms, ...] = ()
    changed: int = 0  # tensors that were put in the place of others
    alike: bool = False  # the same data entered the model at every step
