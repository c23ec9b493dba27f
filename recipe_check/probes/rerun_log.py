"""What a running script does, as a list of events, with the user's line of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from recipe_check import tree
from recipe_check.probes.rerun import Event, Reading, Recorded, Wanted
from recipe_check.probes.rerun_gradients import Parameters
from recipe_check.probes.rerun_graph import in_eval_mode, is_divided, leaves_of
from recipe_check.userframes import caller_location
from recipe_check.values import Location

DETAILED = 14  # steps whose gradients are looked at
WALKED = 12  # backward passes whose graph is walked
EPOCH = 8, 6  # batches and steps after which an epoch is cut short, where only order matters
UNSTEPPED = 64  # batches after which a loop that has never stepped is cut short, too
HELD_OUT = 2  # batches of a loader that is read without gradients
MEASURED = 1e6  # a bound from which on clipping is taken for measuring
MOST_EVENTS = 3000


class Log:
    """Events of one run; `finish(why)` is called when there are enough."""

    def __init__(self, wanted: Wanted, finish: Callable[[str], None]) -> None:
        self.wanted, self.finish = wanted, finish
        self.parameters = Parameters()
        self.events: list[Event] = []
        self.readings: list[Reading] = []
        self.steps = self.epochs = self.backwards = 0
        self.on_step: list[Callable[[], None]] = []
        self._entered: list[nn.Module] = []
        self._new_data = False
        self._read: dict[int, list[int]] = {}  # of a loader: batches, steps before, backwards
        self._trained_on: set[int] = set()
        self._scaled: dict[int, float] = {}
        self._left: dict[int, float | None] = {}  # gradients as the last backward left them
        self._used: dict[int, float | None] = {}  # gradients that a step has used
        self._stale: dict[int, Location | None] = {}  # parameters with used and new gradients
        self._weights: dict[int, float] = {}
        self._has_stepped = False
        self._second = 0  # the step at which the second epoch began

    @property
    def detailed(self) -> bool:
        return self.wanted.order or self.steps < DETAILED

    def recorded(self, ended: str, changed: int, *, alike: bool) -> Recorded:
        """Everything so far."""
        return Recorded(
            ended=ended, steps=self.steps, epochs=self.epochs, events=tuple(self.events),
            optimizers=self.parameters.summary(), readings=tuple(self.readings),
            norms=self.parameters.seen_norms(), changed=changed, alike=alike,
        )  # fmt: skip

    def _add(self, kind: str, **facts: Any) -> None:
        if len(self.events) < MOST_EVENTS and self.detailed:
            self.events.append(Event(kind=kind, place=caller_location(kind), **facts))

    # -- modules and data ------------------------------------------------------------------------

    def made(self, optimizer: Any) -> None:
        self.parameters.add_optimizer(optimizer, caller_location(type(optimizer).__name__))

    def entered(self, module: nn.Module) -> None:
        if torch.is_grad_enabled() and self.detailed:
            self.parameters.name(module)
            self._entered.append(module)

    def switched(self, module: nn.Module, *, training: bool) -> None:
        held = self.parameters.holders(module.parameters())
        if held:
            self._add("train" if training else "eval", held=held)

    def begins(self, loader: Any) -> None:
        """Another pass over a loader; the second over one that was trained on is an epoch."""
        self._read[id(loader)] = [0, self.steps, self.backwards]
        if id(loader) in self._trained_on:
            self.epochs += 1
            self._add("epoch")
            self._second = self._second or self.steps

    def fetched(self, loader: Any) -> None:
        self._new_data = True
        self._read.setdefault(id(loader), [0, self.steps, self.backwards])[0] += 1

    def is_over(self, loader: Any) -> bool:
        """Whether a pass over the loader may end here: enough was seen of it."""
        count, steps, backwards = self._read.get(id(loader), (0, self.steps, self.backwards))
        if self.backwards > backwards:
            self._trained_on.add(id(loader))
            enough = self.steps - steps >= EPOCH[1] or (not self.steps and count >= UNSTEPPED)
            return self.wanted.order and count >= EPOCH[0] and enough
        return not torch.is_grad_enabled() and count >= HELD_OUT

    # -- gradients -------------------------------------------------------------------------------

    def scaled(self, scaled: Any, factor: float) -> None:
        self._scaled = {id(leaf): factor for leaf in tree.leaves(scaled)}
        self._kept = scaled  # so that no id is used twice

    def differentiated(self, outputs: Any) -> None:
        """`autograd.grad`, in loops that never call `backward()`."""
        if self.backwards:
            return
        self.parameters.add(leaf for root in tree.leaves(outputs) for leaf in leaves_of(root))
        self._look_for_updates()
        self._read_losses(tree.leaves(outputs), 1.0)

    @contextmanager
    def backward(self, roots: Sequence[Any]) -> Iterator[None]:
        """What a `backward()` changes in the gradients."""
        self.parameters.refresh()
        if self.backwards < WALKED:
            self.parameters.add(leaf for root in roots for leaf in leaves_of(root))
        self._look_for_updates()
        scale = max((self._scaled.get(id(root), 1.0) for root in roots), default=1.0)
        self._read_losses(roots, scale)
        divided = any(is_divided(root, scale) for root in roots)
        before = self.parameters.norms() if self.detailed else {}
        self._forget(before)
        yield
        self.backwards += 1
        if self.detailed:
            self._compare(before, divided=divided, scale=scale)
        self._entered, self._new_data = [], False
        if not self.steps and self.backwards > max(2 * UNSTEPPED, self.wanted.steps):
            self.finish("no step")

    def _read_losses(self, roots: Sequence[Any], scale: float) -> None:
        place = caller_location("backward")
        for root in roots:
            if isinstance(root, torch.Tensor) and root.numel() == 1:
                value = float(root.detach()) / scale
                self.readings.append(Reading(step=self.steps, line=str(place), value=value))

    def _compare(self, before: dict[int, float | None], *, divided: bool, scale: float) -> None:
        after = self.parameters.norms()
        new = [key for key, value in after.items() if value != before.get(key)]
        place = caller_location("backward")
        for key in new:
            if self._used.get(key) and before.get(key) == self._used[key]:
                self._stale[key] = place
        held = self.parameters.holders(self.parameters.known[key] for key in new)
        self._left = after
        self._add(
            "backward", held=held, new_data=self._new_data, divided=divided, scale=scale,
            evaluating=in_eval_mode(self._entered, self.parameters), missed=bool(new) and not held,
        )  # fmt: skip

    def _forget(self, now: dict[int, float | None]) -> None:
        """Gradients that were cleared are neither used nor stale any more."""
        for key in [k for k in (*self._used, *self._stale) if k in now and not now[k]]:
            self._used.pop(key, None)
            self._stale.pop(key, None)

    def _look_for_updates(self) -> None:
        """Weights that change between backward passes while no optimizer has made a step."""
        if self._has_stepped:
            return
        now = self.parameters.prints()
        moved = [key for key, value in now.items() if self._weights.get(key, value) != value]
        if moved:
            self.parameters.keep_norms(self._left)
            # data that ask for a gradient keep it, and no step uses it
            stale = [self._stale[key] for key in moved if key in self._stale]
            self._add("update", stale=stale[0] if stale else None)
            self._used, self._stale = dict(self._left), {}
            self._advance()
        self._weights = now

    def cleared(self, owner: Any) -> None:
        """`zero_grad` of an optimizer or a module."""
        of_module = isinstance(owner, nn.Module)
        tensors = list(owner.parameters()) if of_module else Parameters.held_by(owner)
        held = self.parameters.holders(tensors)
        if held:
            self._add("zero", held=held)
        for tensor in tensors:
            self._used.pop(id(tensor), None)
            self._stale.pop(id(tensor), None)

    def clipped(self, tensors: Sequence[torch.Tensor], most: float) -> None:
        """A bound that nothing reaches only measures."""
        if most >= MEASURED or not self.detailed:
            return
        now = self.parameters.norms()
        mine = [id(t) for t in tensors if id(t) in now]
        filled = [key for key in mine if now[key]]
        used = bool(filled) and all(now[key] == self._used.get(key) for key in filled)
        self._add("clip", held=self.parameters.holders(tensors), empty=not filled, used=used)

    def unscaled(self, optimizer: Any) -> None:
        self._left = self.parameters.norms() if self.detailed else {}
        self._add("unscale", held=self.parameters.holders(Parameters.held_by(optimizer)))

    # -- optimizers and schedulers ---------------------------------------------------------------

    def begin_step(self, optimizer: Any, *, bound: bool) -> None:
        """Before an optimizer's step; what a closure changes from here on, it changes."""
        self._has_stepped = True
        if not self.detailed:
            return
        self.parameters.refresh()
        now = self.parameters.norms()
        self._forget(now)
        mine = [id(p) for p in Parameters.held_by(optimizer)]
        stale = [key for key in mine if key in self._stale]
        self.parameters.keep_norms({key: now.get(key) for key in mine})
        self._add(
            "step",
            held=self.parameters.holders(Parameters.held_by(optimizer)),
            bound=bound,
            empty=not any(now.get(key) for key in mine),
            changed=any(now.get(key) != self._left.get(key) for key in mine),
            stale=self._stale[stale[0]] if 2 * len(stale) > len(mine) else None,
        )

    def end_step(self, optimizer: Any) -> None:
        """After it: its gradients have been used."""
        now = self.parameters.norms() if self.detailed else {}
        for parameter in Parameters.held_by(optimizer):
            self._used[id(parameter)] = now.get(id(parameter))
            self._stale.pop(id(parameter), None)
        self._advance()

    def scheduled(self, scheduler: Any, *, bound: bool) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        held = self.parameters.holders(Parameters.held_by(optimizer)) if optimizer else ()
        self._add("schedule", held=held, bound=bound)

    def _advance(self) -> None:
        self.steps += 1
        for act in self.on_step:
            act()
        begun = self._second and self.steps >= self._second + 3
        if self.steps >= self.wanted.steps or (self.wanted.order and begun and self.steps >= 6):
            self.finish("steps")
