"""The measurement of `capacity`: the model's class at its own and at twice its width."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from recipe_check import NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.probes.training import Fit
from recipe_check.rig import Rig
from recipe_check.subject import Parts

from .capacity import Growth

if TYPE_CHECKING:
    from recipe_check import Lab

WIDTHS = ("width", "hidden", "hidden_size", "hidden_dim", "n_hidden", "num_hidden", "n_embd",
          "d_model", "dim", "embed_dim", "channels", "filters", "units")  # fmt: skip
RATE = 1e-3
SEEDS = 3


def see_growth(lab: Lab, steps: int) -> Growth:
    """Fits both sizes from three seeds."""
    if not lab.trace.requires_grad:
        raise NotApplicable("the loss has no gradient (see gradient-norms)")
    kind = type(lab.subject.original.model)
    name, width = _width(kind)
    if not _is_default(lab, kind):
        raise NotApplicable("the model is not what its class builds by default")
    curves = [
        tuple(_fit(lab, partial(kind, **{name: w}), seed, steps) for seed in range(SEEDS))
        for w in (width, 2 * width)
    ]
    return Growth(name, width, *curves)


def _width(kind: type[nn.Module]) -> tuple[str, int]:
    """The argument that sets the width, with its default."""
    parameters = inspect.signature(kind).parameters.values()
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(p.default is p.empty and p.kind not in fixed for p in parameters):
        raise NotApplicable("the model's class has arguments without a default")
    for parameter in parameters:
        if parameter.name in WIDTHS and type(parameter.default) is int:
            return parameter.name, parameter.default
    raise NotApplicable("the model's class has no width to change")


def _is_default(lab: Lab, kind: type[nn.Module]) -> bool:
    with lab.seeded():
        made = kind()
    own = lab.subject.original.model
    return [p.shape for p in made.parameters()] == [p.shape for p in own.parameters()]


def _fit(
    lab: Lab, build: Callable[[], nn.Module], seed: int, steps: int
) -> tuple[float, ...]:  # fmt: skip
    with lab.seeded(seed):
        parts = lab.subject.copy()
        try:
            model = build()
        except Exception as error:
            raise NotApplicable(f"the wider model is not built: {error}") from error
        rig = Rig(lab.subject, Parts(model, parts.loss), lab.device, lab.meter).train()
        fit = Fit(rig, RATE)
        seed_everything(lab.seed + seed)
        try:
            fit.steps([rig.put(batch) for batch in lab.train_batches], steps)
        except UserCodeError as error:
            raise NotApplicable(f"the wider model does not run: {error}") from error
    return tuple(fit.losses)
