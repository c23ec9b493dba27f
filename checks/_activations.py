"""The measurement of `activation-scale`: a line through log deviations over depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from recipe_check import Location, NotApplicable, tree
from recipe_check.lineage import DRAWN
from recipe_check.probes.saturation import END

from ._blame import value_line
from ._depth import fitted_line
from .activation_scale import Activations, Saturated

if TYPE_CHECKING:
    from recipe_check import Lab

LEAST = 5  # layers, before a line says anything
_KINDS = ("Linear", "Conv1d", "Conv2d", "Conv3d", "LazyLinear")


def _start(lab: Lab, name: str) -> Location | None:
    """The line that initialised the layer's weight, else the one that made it."""
    weight = getattr(lab.subject.original.model.get_submodule(name), "weight", None)
    return value_line(weight, DRAWN) or lab.subject.created.get(name)


def see_activations(lab: Lab) -> Activations:
    """Reads the shared trace; the last layer is left out, since heads may start at zero."""
    trace = lab.trace
    layers = [layer for layer in trace.layers if layer.kind in _KINDS][:-1]
    points = [(i, math.log(x.std)) for i, x in enumerate(layers) if 0 < x.std < math.inf]
    slope, correlation = fitted_line(points) if len(points) >= LEAST else (0.0, 0.0)
    saturated = tuple(
        Saturated(s.module or s.op, s.op, s.share, s.location)
        for s in trace.saturations if not (s.op == "sigmoid" and _is_prior(s.share, trace.output))
    )  # fmt: skip
    if not layers and not saturated:
        raise NotApplicable("no hidden linear or convolutional layer")
    return Activations(
        names=tuple(layer.name for layer in layers),
        stds=tuple(layer.std for layer in layers),
        correlation=correlation,
        factor=math.exp(max(min(slope * (len(points) - 1), 600.0), -600.0)),
        saturated=saturated,
        location=_start(lab, layers[0].name) if layers else None,
    )


def _is_prior(share: float, output: Any) -> bool:
    """Whether a share is that of final probabilities which all lie at one end: the last bias was
    set to the odds of a rare class. Squashed by the model itself or by the loss."""
    for leaf in tree.leaves(output):
        if not leaf.is_floating_point() or not leaf.numel():
            continue
        value = leaf.float()
        if float(value.min()) < 0 or float(value.max()) > 1:
            value = value.sigmoid()
        one_sided = float(value.max()) < 0.5 or float(value.min()) > 0.5
        ends = ((value < END) | (value > 1 - END)).float().mean()
        if one_sided and abs(float(ends) - share) < 0.01:
            return True
    return False
