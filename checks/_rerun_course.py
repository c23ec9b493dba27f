"""What one optimizer of a script went through, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from recipe_check.probes.rerun import Event, Held, Recorded

ANYTHING = -1  # weights that no optimizer holds
SCALE_FREE = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "Lion")


@dataclass(frozen=True)
class Course:
    """The events of one optimizer, and those around them."""

    number: int
    held: Held
    whole: Recorded

    @cached_property
    def events(self) -> tuple[Event, ...]:
        if self.number == ANYTHING:
            return self.whole.events
        common = ("epoch",)
        return tuple(e for e in self.whole.events if self.number in e.held or e.kind in common)

    @cached_property
    def groups(self) -> tuple[tuple[Event, ...], ...]:
        """What came before each step, the step last; what follows the last one is left out."""
        found: list[tuple[Event, ...]] = []
        since: list[Event] = []
        for event in self.events:
            since.append(event)
            if event.kind == ("update" if self.number == ANYTHING else "step"):
                found.append(tuple(since))
                since = []
        return tuple(found)

    @property
    def ends(self) -> list[Event]:
        return [group[-1] for group in self.groups]

    @property
    def scale_free(self) -> bool:
        return self.held.kind in SCALE_FREE
