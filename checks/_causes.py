"""Hypotheses for a model that cannot learn, each tested on the model that failed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import Cause, CauseState, Location, tree
from recipe_check.lab import seed_everything
from recipe_check.probes.watch import LossTerm

from ._blame import frozen_at, last_layer
from ._floor import is_broadcast
from ._loss_input import LossInput, loss_input

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

_DEAD = 0.9  # share of a layer's units
_SATURATED = 0.85  # share of outputs at the ends of tanh or sigmoid (TheDeepChecker)


@dataclass(frozen=True)
class TestedCause:
    """A cause with the line it points at and what to do if it matches."""

    cause: Cause
    location: Location | None = None
    fix: str = ""


def causes_of(
    lab: Lab, rig: Rig, batch: Any, final: float, terms: Sequence[LossTerm]
) -> tuple[TestedCause, ...]:
    """All hypotheses, those that match first. Cost: 3 forward passes."""
    term = terms[0] if terms else None
    entered = loss_input(lab)
    found = [
        _squashed(entered, term, final),
        _broadcast(term, final),
        _too_few_outputs(lab, term),
        _no_gradient(lab),
        _dead(lab),
        _ignores_input(rig, batch),
        _unregistered(lab),
        _narrow(lab, rig, term),
    ]
    order = (CauseState.MATCHES, CauseState.RULED_OUT, CauseState.NOT_TESTED)
    return tuple(sorted(found, key=lambda c: order.index(c.cause.state)))


def _state(matches: bool) -> CauseState:
    return CauseState.MATCHES if matches else CauseState.RULED_OUT


def _squashed(entered: LossInput, term: LossTerm | None, final: float) -> TestedCause:
    """Softmax, sigmoid or ReLU right before a loss that wants raw scores."""
    matches = bool(entered.op)
    evidence = entered.why
    if matches and term is not None and term.kind == "cross_entropy":
        classes = term.prediction.shape[1] if term.prediction.ndim > 1 else 1
        floor = math.log(1 + (classes - 1) / math.e) if classes > 1 else 0.0
        if entered.op == "softmax" and classes > 1:
            evidence += f"; that floors the loss at {floor:.4g}, it ended at {final:.4g}"
    return TestedCause(
        Cause(
            title=f"the loss receives the output of {entered.op or 'softmax, sigmoid or ReLU'}",
            state=_state(matches),
            evidence=evidence,
            check="loss-contract",
        ),
        entered.location,
        f"return the raw scores: {entered.kind} applies its own normalisation",
    )


def _broadcast(term: LossTerm | None, final: float) -> TestedCause:
    """(B, 1) against (B,): the loss compares every prediction with every target."""
    matches, evidence = False, ""
    if term is not None and isinstance(term.target, torch.Tensor):
        matches = is_broadcast(term)
        evidence = f"prediction {tuple(term.prediction.shape)}, target {tuple(term.target.shape)}"
        if matches:
            spread = float(term.target.double().var(correction=0))
            evidence += f"; the variance of the targets is {spread:.4g}, it ended at {final:.4g}"
    return TestedCause(
        Cause(
            title="prediction and target have different shapes and are broadcast",
            state=_state(matches),
            evidence=evidence,
            check="loss-contract",
        ),
        term.location if term else None,
        "give both the same shape: prediction.squeeze(1), or target.unsqueeze(1)",
    )


def _too_few_outputs(lab: Lab, term: LossTerm | None) -> TestedCause:
    matches, evidence = False, ""
    if term is not None and isinstance(term.target, torch.Tensor):
        if term.kind in ("cross_entropy", "nll_loss") and term.prediction.ndim > 1:
            matches = term.prediction.shape[1] == 1
            evidence = f"{term.prediction.shape[1]} outputs"
        elif term.kind.startswith("binary_cross_entropy") and term.target.numel():
            high = float(term.target.max())
            matches = high > 1 or float(term.target.min()) < 0
            evidence = f"targets up to {high:g}"
    return TestedCause(
        Cause(
            title="too few outputs for the labels",
            state=_state(matches),
            evidence=evidence,
            check="label-range",
        ),
        last_layer(lab) if matches else None,
        "use one output for each class and cross-entropy",
    )


def _no_gradient(lab: Lab) -> TestedCause:
    """Weights without a gradient, frozen ones included."""
    silent = [
        g.name for g in lab.trace.gradients if len(g.shape) >= 2 and not any((*g.norms, g.settled))
    ]
    frozen = [n for n, p in lab.subject.original.model.named_parameters() if not p.requires_grad]
    trained = len(lab.trace.gradients) - len(silent)
    matches = bool(silent) or len(frozen) > trained
    return TestedCause(
        Cause(
            title="weights are frozen or get no gradient",
            state=_state(matches),
            evidence=f"{trained} tensors get a gradient, {len(silent)} do not, "
            f"{len(frozen)} are frozen",
            check="gradient-norms",
        ),
        _freeze_line(lab),
        "let the gradient reach every layer that should learn (requires_grad, no detach)",
    )


def _freeze_line(lab: Lab) -> Location | None:
    """Where the first frozen weight was frozen."""
    frozen = [p for p in lab.subject.original.model.parameters() if not p.requires_grad]
    return next((w for p in frozen if (w := frozen_at(p)) is not None), None)


def _dead(lab: Lab) -> TestedCause:
    dead = [r for r in lab.trace.rectifiers if r.positions >= 256 and r.dead > _DEAD * len(r.fired)]
    worst = dead[0] if dead else None
    return TestedCause(
        Cause(
            title="a layer of dead rectifiers",
            state=_state(bool(dead)),
            evidence=f"{worst.module or worst.op}: {worst.dead} of {len(worst.fired)} units"
            if worst
            else "every layer has units that fire",
            check="dead-relu",
        ),
        worst.location if worst else None,
        "start the biases at zero and use He initialisation",
    )


def _ignores_input(rig: Rig, batch: Any) -> TestedCause:
    """Whether the fitted model gives every sample the same output."""
    with rig.looking():
        seed_everything(0)
        output = rig.forward(batch)
    leaves = [t for t in tree.leaves(output) if t.is_floating_point() and t.ndim and t.shape[0] > 1]
    if not leaves:
        state, evidence = CauseState.NOT_TESTED, "no output to compare"
    else:
        flat = leaves[0].double().reshape(leaves[0].shape[0], -1)
        spread = float(flat.std(0).max() / flat.abs().max().clamp_min(1e-12))
        state = _state(spread < 1e-4)
        evidence = f"outputs of the samples differ by {spread:.1e} of their size"
    return TestedCause(
        Cause(
            title="the input is ignored: all samples get the same output",
            state=state,
            evidence=evidence,
            check="batch-dependency",
        ),
        None,
        "follow the input through forward(): something drops it",
    )


def _unregistered(lab: Lab) -> TestedCause:
    """Layers in a plain list or dict: their weights are not in model.parameters()."""
    model = lab.subject.original.model
    known = {id(module) for module in model.modules()}
    missing = [
        f"{name + '.' if name else ''}{key}"
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, list | tuple | dict) and not key.startswith("_")
        for item in (value.values() if isinstance(value, dict) else value)
        if isinstance(item, nn.Module | nn.Parameter) and id(item) not in known
    ]
    return TestedCause(
        Cause(
            title="layers kept in a Python list are not registered",
            state=_state(bool(missing)),
            evidence=", ".join(dict.fromkeys(missing)) or "all layers are registered",
            check="registration",
        ),
        None,
        "use nn.ModuleList, nn.ModuleDict or nn.ParameterList",
    )


def _narrow(lab: Lab, rig: Rig, term: LossTerm | None) -> TestedCause:
    """A hidden linear layer with fewer units than a rank of C - 1 needs."""
    linear = [(n, m) for n, m in rig.model.named_modules() if isinstance(m, nn.Linear)]
    narrow = [(n, m) for n, m in linear[:-1] if m.out_features <= 2]
    classes = term.prediction.shape[1] if term is not None and term.prediction.ndim > 1 else 1
    matches = bool(narrow) and classes > 2
    return TestedCause(
        Cause(
            title="too little capacity: a bottleneck",
            state=_state(matches),
            evidence=f"{narrow[0][0]} has {narrow[0][1].out_features} outputs for {classes} classes"
            if matches
            else "no hidden layer is narrower than three units",
            check="capacity",
        ),
        lab.subject.created.get(narrow[0][0]) if matches else None,
        "widen that layer",
    )


def render(causes: Sequence[TestedCause]) -> tuple[Cause, ...]:
    """The causes alone."""
    return tuple(tested.cause for tested in causes)
