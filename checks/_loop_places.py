"""Small helpers of the rules on training loops."""

from __future__ import annotations

import linecache

from torch import nn

from recipe_check import Location
from recipe_check.probes.loops import Event, Training
from recipe_check.userframes import relative


def place(event: Event) -> Location:
    """Where an event stands in the user's files."""
    source = linecache.getline(str(event.file), event.line).rstrip("\n")
    return Location(
        file=relative(str(event.file)), line=event.line, column=event.column, source=source[:500]
    )


def of_kinds(loop: Training, *kinds: str) -> list[Event]:
    """What the loop over batches does of these kinds, in order."""
    return [e for e in loop.batch.events() if e.kind in kinds]


def depends_on_mode(module: nn.Module) -> bool:
    """Whether train and eval differ for this layer."""
    drops = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    return drops or isinstance(module, nn.modules.batchnorm._BatchNorm)
