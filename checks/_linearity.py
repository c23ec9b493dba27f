"""The measurement of `linearity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError

from ._calls import Call, model_call
from ._rows import jitter
from ._subset import on_few_rows
from .linearity import Deviation

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

SAMPLES = 4
CONSTANT = 1e-6  # of the outputs' size: a constant is affine, too
_WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


def see_deviation(lab: Lab) -> Deviation:
    """f(a) + f(b) - f(0) - f(a + b) on a float64 copy in evaluation mode."""
    rig = lab.rig().double().eval()
    jitter(rig)  # a head that starts at zero is no linear model
    layers = [n for n, m in rig.model.named_modules() if isinstance(m, _WEIGHTED)]
    if len(layers) < 2:
        raise NotApplicable("fewer than two linear or convolutional layers")
    batch, _, call = model_call(lab, rig, lab.rig().eval())
    inputs = batch if rig.subject.training_step is not None else rig.split(batch).inputs
    given = tree.leaves(inputs)
    places = [
        i for i, t in enumerate(tree.leaves(batch))
        if t.is_floating_point() and any(t is x for x in given)  # float labels are no inputs
    ]  # fmt: skip
    if not places or len(places) < len(given):
        raise NotApplicable("the inputs are not all floating-point numbers")
    try:
        relative = (
            on_few_rows(lab, rig, batch, SAMPLES, lambda few: _deviation(rig, call, few, places))
            if rig.subject.training_step is None
            else _deviation(rig, call, batch, places)
        )
    except UserCodeError as error:
        raise NotApplicable(f"the model does not run in float64: {error}") from error
    return Deviation(relative, len(layers), lab.subject.created.get(layers[-1]))


def _deviation(rig: Rig, call: Call, batch: object, places: list[int]) -> float:
    leaves = tree.leaves(batch)
    torch.manual_seed(0)
    one = {p: torch.randn_like(tree.dense(leaves[p]).double()) for p in places}
    two = {p: torch.randn_like(tree.dense(leaves[p]).double()) for p in places}
    both = {p: one[p] + two[p] for p in places}
    none = {p: torch.zeros_like(one[p]) for p in places}
    a, b, c, d = (_output(rig, call, batch, x) for x in (one, two, both, none))
    scale = max(float(a.abs().max()), float(b.abs().max()), 1e-12)
    if float((a - b).abs().max()) < CONSTANT * scale:
        raise NotApplicable("the output does not depend on the input (see output-collapse)")
    return float((a + b - c - d).abs().max()) / scale


def _output(rig: Rig, call: Call, batch: object, inputs: dict[int, torch.Tensor]) -> torch.Tensor:
    with rig.looking():
        output = call(rig.put(tree.replace_leaves(batch, inputs)))
    found = [t for t in tree.leaves(output) if t.is_floating_point()]
    if not found:
        raise NotApplicable("the model has no floating-point output")
    return found[0].detach().double()
