"""Hypotheses about the layers of a model that cannot learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import nn

from recipe_check import Cause, CauseState, Location, tree
from recipe_check.lab import seed_everything

from ._blame import frozen_at
from ._depth import decay_over_depth
from ._gradient_stops import gradient_stop
from ._gradients import is_silent
from ._not_finite import not_finite
from ._starts import see_starts
from ._tested import TestedCause, state_of

if TYPE_CHECKING:
    from recipe_check import Lab, Rig
    from recipe_check.probes.watch import LossTerm

_SATURATED = 0.85  # share of outputs at the ends of tanh or sigmoid (TheDeepChecker)
_VANISHED = 1e-4  # of the largest gradient, at the first layers (as gradient-norms warns)


def no_gradient(lab: Lab) -> TestedCause:
    """Weights without a gradient, frozen ones included."""
    silent = [g.name for g in lab.trace.gradients if is_silent(g)]
    stop = gradient_stop(lab, frozenset(silent)) if silent else None
    frozen = [n for n, p in lab.subject.original.model.named_parameters() if not p.requires_grad]
    trained = len(lab.trace.gradients) - len(silent)
    matches = bool(silent) or len(frozen) > trained
    return TestedCause(
        Cause(
            title="weights are frozen or get no gradient",
            state=state_of(matches),
            evidence=f"{trained} tensors get a gradient, {len(silent)} do not, "
            f"{len(frozen)} are frozen" + (f"; {stop.op}: {stop.why}" if stop else ""),
            check="gradient-norms",
        ),
        (stop.location if stop else None) or _freeze_line(lab),
        f"replace {stop.op}: {stop.why}"
        if stop
        else "let the gradient reach every layer that should learn (requires_grad, no detach)",
    )


def overruns(lab: Lab, final: float) -> TestedCause:
    """The operation that gives NaN, where the loss became NaN within the first steps."""
    found = None if math.isfinite(final) else not_finite(lab)
    return TestedCause(
        Cause(
            title="an operation that is not finite",
            state=state_of(found is not None),
            evidence=f"{found.op or 'the data'}: {found.why}" if found else "",
            check="gradient-norms",
        ),
        found.location if found else None,
        "guard logarithms, divisions and square roots with a small constant",
    )


def _freeze_line(lab: Lab) -> Location | None:
    """Where the first frozen weight was frozen."""
    frozen = [p for p in lab.subject.original.model.parameters() if not p.requires_grad]
    return next((w for p in frozen if (w := frozen_at(p)) is not None), None)


def dead(lab: Lab) -> TestedCause:
    worst = lab.trace.blocked
    return TestedCause(
        Cause(
            title="a layer of dead rectifiers",
            state=state_of(worst is not None),
            evidence=f"{worst.module or worst.op}: {worst.dead} of {len(worst.fired)} units"
            if worst
            else "every layer has units that fire",
            check="dead-relu",
        ),
        worst.location if worst else None,
        "start the biases at zero and use He initialisation",
    )


def ignores_input(rig: Rig, batch: Any) -> TestedCause:
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
        state = state_of(spread < 1e-4)
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


def unregistered(lab: Lab) -> TestedCause:
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
            state=state_of(bool(missing)),
            evidence=", ".join(dict.fromkeys(missing)) or "all layers are registered",
            check="registration",
        ),
        None,
        "use nn.ModuleList, nn.ModuleDict or nn.ParameterList",
    )


def narrow(lab: Lab, rig: Rig, term: LossTerm | None) -> TestedCause:
    """A hidden linear layer with fewer units than a rank of C - 1 needs."""
    linear = [(n, m) for n, m in rig.model.named_modules() if isinstance(m, nn.Linear)]
    narrow = [(n, m) for n, m in linear[:-1] if m.out_features <= 2]
    classes = term.prediction.shape[1] if term is not None and term.prediction.ndim > 1 else 1
    matches = bool(narrow) and classes > 2
    return TestedCause(
        Cause(
            title="too little capacity: a bottleneck",
            state=state_of(matches),
            evidence=f"{narrow[0][0]} has {narrow[0][1].out_features} outputs for {classes} classes"
            if matches
            else "no hidden layer is narrower than three units",
            check="capacity",
        ),
        lab.subject.created.get(narrow[0][0]) if matches else None,
        "widen that layer",
    )


def vanishing(lab: Lab) -> TestedCause:
    """Gradients that shrink with every layer towards the input."""
    weights = [g for g in lab.trace.gradients if len(g.shape) >= 2]
    norms = [max((n for n in g.norms if n is not None), default=None) for g in weights]
    decay = decay_over_depth(norms, [g.weight_norm for g in weights])
    matches = decay is not None and decay.factor < _VANISHED
    return TestedCause(
        Cause(
            title="gradients vanish towards the first layers",
            state=state_of(matches),
            evidence=f"factor {decay.factor:.1e} over {decay.layers} layers" if decay else "",
            check="gradient-norms",
        ),
        None,
        "use residual connections, normalisation, or ReLU with He initialisation",
    )


def saturated(lab: Lab) -> TestedCause:
    """A tanh or sigmoid without a slope."""
    worst = max(lab.trace.saturations, key=lambda s: s.share, default=None)
    matches = worst is not None and worst.share > _SATURATED
    return TestedCause(
        Cause(
            title="a saturated tanh or sigmoid",
            state=state_of(matches),
            evidence=f"{worst.module or worst.op}: {worst.share:.0%} of the outputs at the ends"
            if worst is not None
            else "no tanh or sigmoid",
            check="activation-scale",
        ),
        worst.location if worst is not None else None,
        "scale the inputs, and start the weights smaller",
    )


def symmetric(lab: Lab) -> TestedCause:
    """Units that start equal and stay so."""
    starts = see_starts(lab)
    matches = bool(starts.symmetric) and (starts.first_is_symmetric or starts.all_symmetric)
    return TestedCause(
        Cause(
            title="units start equal (symmetry is not broken)",
            state=state_of(matches),
            evidence=", ".join(starts.symmetric[:3]) or "no weight has equal rows",
            check="weight-init",
        ),
        starts.location if matches else None,
        "use the default (random) initialisation",
    )
