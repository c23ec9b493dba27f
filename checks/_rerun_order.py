"""The measurement of `train-step` for a captured script: the order in which it really does things,
and what only its source can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recipe_check import NotApplicable
from recipe_check.probes.rerun import Recorded
from recipe_check.probes.rerun_process import run_again

from ._rerun_rules import slips_of
from .train_step import Loops, Slip

if TYPE_CHECKING:
    from recipe_check import Lab

STEPS = 40  # at most; fewer where a second epoch begins
ENOUGH = 3  # steps after which the record is believed rather than the source
SHOWN = 24  # events of one optimizer's first steps
DECIDED = frozenset((
    "gradients are cleared before the step",
    "gradients are not cleared (zero_grad missing)",
    "gradients are clipped after the step",
    "scaled gradients are clipped",
    "the optimizer never steps",
    "the scheduler steps before the optimizer",
))  # fmt: skip
EVAL = "the model stays in eval mode"
UNDIVIDED = "accumulated gradients are not divided"
OTHERS = (
    "the optimizer holds other weights than the model",
    "backward() reaches no weight of the optimizer",
)


def see_training(lab: Lab) -> Loops:
    """What the script did, and what its source says beyond that. Cost: the script runs once more,
    for at most 40 steps; none where the target was not captured."""
    from ._loop_rules import see_loops

    if lab.subject.rerun is None:
        return see_loops(lab)
    try:
        seen = run_again(lab, order=True, steps=STEPS)
    except NotApplicable:
        if lab.subject.in_parts:
            return see_loops(lab)
        raise
    if not lab.subject.in_parts:
        return _loops(seen, None)
    try:
        return _loops(seen, see_loops(lab))
    except NotApplicable:
        return _loops(seen, None)


def _loops(seen: Recorded, read: Loops | None) -> Loops:
    recorded = slips_of(seen)
    kept = () if read is None else tuple(s for s in read.slips if not _is_decided(s, seen))
    rows = () if read is None else read.loops
    titles = (*DECIDED, EVAL, UNDIVIDED) if read is None else read.looked_for
    if not recorded and not kept and seen.steps < ENOUGH and not rows:
        raise NotApplicable(f"the script made {seen.steps} steps when it was run again "
                            f"({seen.ended})")  # fmt: skip
    return Loops(
        loops=(*rows, *_rows(seen)),
        slips=(*recorded, *(s for s in kept if s.title not in {r.title for r in recorded})),
        looked_for=(*titles, *OTHERS),
    )


def _is_decided(slip: Slip, seen: Recorded) -> bool:
    """Whether the record has shown that there is no such slip."""
    if seen.steps < ENOUGH:
        return False
    if slip.title == EVAL:
        return seen.epochs > 0
    if slip.title == UNDIVIDED:
        return any(event.kind == "backward" and event.new_data for event in seen.events)
    return slip.title in DECIDED


def _rows(seen: Recorded) -> tuple[tuple[str, str, str], ...]:
    """The first events as they happened, those alike in a row once."""
    kinds: list[str] = []
    for event in seen.events[:SHOWN]:
        number = ", ".join(str(n + 1) for n in event.held)
        kinds.append(f"{event.kind} {number}".strip() if len(seen.optimizers) > 1 else event.kind)
    once = [kind for n, kind in enumerate(kinds) if n == 0 or kind != kinds[n - 1]]
    place = next((event.place for event in seen.events if event.place is not None), None)
    return (("as it ran", str(place or ""), ", ".join(once)),)
