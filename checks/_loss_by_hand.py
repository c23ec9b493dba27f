"""Rules on losses that the user wrote: shapes, axes, sign and range, by trying them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import Location, tree
from recipe_check.errors import UserCodeError

from ._loss_documents import one_positive, signed_calls
from ._loss_ends import unreachable
from ._loss_input import made_by_all
from ._loss_pairs import apart, distance, exchanged
from ._loss_parts import diluted, overwritten, uneven
from ._loss_probe import loss_probe
from ._loss_pulls import RULES
from ._loss_shapes import normalised_twice, spread_out, wrong_axis
from ._loss_sign import bottomless, flipped
from ._recorded_ops import Recording, record
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

NEAR = 0.05  # of the slope half a standard deviation away: a lowest point, up to rounding


def by_hand(lab: Lab) -> tuple[Location | None, list[Breach]]:
    """The line that gives the loss, and its breaches. Cost: 1 F to read the operations; for the
    sign at most 14 F and 4 B, of the loss alone unless a training step holds it."""
    try:
        taken = record(lab)
    except UserCodeError:
        return None, []
    line = taken.loss_line()
    found = [
        spread_out(taken),
        normalised_twice(taken),
        wrong_axis(taken),
        _out_of_range(lab, taken),
        None if distance(taken) == 1 else flipped(lab, line),
        bottomless(lab, taken),
        signed_calls(lab, taken),
        one_positive(lab, taken),
        *(rule(lab, line) for rule in (*RULES, diluted)),
        *(rule(lab, taken) for rule in (apart, exchanged, uneven, overwritten)),
    ]
    return line, [breach for breach in found if breach is not None]


def _out_of_range(lab: Lab, taken: Recording) -> Breach | None:
    """Likewise for a loss that compares output and target as they are: flat where they agree."""
    probe = loss_probe(lab)
    pair = probe.pair() if probe is not None else None
    leaves = [t for t in tree.leaves(taken.output) if t.is_floating_point()]
    if probe is None or pair is None or pair.kind != "values" or pair.leaf >= len(leaves):
        return None
    target = pair.target.to(pair.output.dtype)
    away = target + 0.5 * target.std()
    slopes = []
    for point in (target.clone(), away):
        point.requires_grad_()
        try:
            with torch.enable_grad():
                loss = probe.value({pair.leaf: point})
                (slope,) = torch.autograd.grad(loss, point, allow_unused=True)
        except (UserCodeError, RuntimeError, TypeError, ValueError):
            return None
        slopes.append(float("nan") if slope is None else float(slope.abs().mean()))
    if not slopes[0] < NEAR * slopes[1]:
        return None
    return unreachable(made_by_all(taken, leaves[pair.leaf]), pair.target)
