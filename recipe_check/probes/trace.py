"""The shared probe: forward and backward over a few training batches, everything recorded.

Cost: K forward and backward passes in training mode (K = 4); where a tensor has no gradient, 3
training steps on the copy and one more forward and backward pass for a second look; where a
rectified unit did not fire at too few positions, forward passes over more batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import tree
from recipe_check.probes.entry import Entry, EntryObserver
from recipe_check.probes.layers import LayerRecorder, LayerStats
from recipe_check.probes.rectifiers import Rectifier, RectifierObserver
from recipe_check.probes.saturation import Saturation, SaturationObserver
from recipe_check.probes.watch import LossObserver, LossTerm, Watch
from recipe_check.subject import can_fuse, densify

if TYPE_CHECKING:
    from recipe_check.lab import Lab
    from recipe_check.rig import Rig

BATCHES = 4
KEPT = 2**23  # numbers at most of what the losses of all batches compared (32 MB)
POSITIONS = 256  # a unit is called dead only after this many samples or pixels
BLOCKED = 0.9  # share of a rectifier's units
SETTLING_STEPS = 3  # zero-initialised heads, branches and LoRA pairs wake up within these


@dataclass(frozen=True)
class TensorGradient:
    """Gradient of one trainable tensor: Euclidean norms, None where autograd gave none."""

    name: str
    shape: tuple[int, ...]
    weight_norm: float
    norms: tuple[float | None, ...]  # one a batch, at the initial weights
    settled: float | None  # after three training steps, where some tensor had none at the start


@dataclass(frozen=True)
class Probed:
    """One batch as the model got it, and what its loss compared; detached."""

    batch: Any
    terms: tuple[LossTerm, ...]


@dataclass(frozen=True)
class Trace:
    """What the probe saw. `terms` and `output` hold detached tensors of the first batch.

    `probed` are the batches, one for each of `losses`; () where keeping them takes too much memory.
    """

    losses: tuple[float, ...]
    requires_grad: bool
    terms: tuple[LossTerm, ...]
    probed: tuple[Probed, ...]
    output: Any
    gradients: tuple[TensorGradient, ...]
    rectifiers: tuple[Rectifier, ...]
    layers: tuple[LayerStats, ...]
    saturations: tuple[Saturation, ...]  # of the first batch
    entry: Entry | None  # None where no weight reads floats (tokens)

    @property
    def blocked(self) -> Rectifier | None:
        """The first rectifier of which at least nine tenths never fired over enough positions: it
        stops what stands before it."""
        return next(
            (r for r in self.rectifiers
             if r.positions >= POSITIONS and r.dead > BLOCKED * len(r.fired)), None,
        )  # fmt: skip

    def gradient(self, name: str) -> TensorGradient | None:
        """The gradient record of a parameter, by its name in `named_parameters`."""
        return next((g for g in self.gradients if g.name == name), None)


def take_trace(lab: Lab) -> Trace:
    """Runs the probe on a fresh copy of the subject; see the module's docstring for its cost."""
    rig = lab.rig().train()
    leaf_names = {id(m): name for name, m in rig.model.named_modules() if not any(m.children())}
    recorder = LayerRecorder(leaf_names)
    stack = rig.stack()
    rectifiers, entry = RectifierObserver(stack), EntryObserver()
    squashes = SaturationObserver(stack)
    losses, norms, first, probed = [], [], None, list[Probed]()
    for number, batch in enumerate(lab.train_batches[:BATCHES]):
        terms, there = LossObserver(), rig.put(batch)
        hooks = [m.register_forward_hook(recorder) for m in rig.model.modules() if first is None]
        once = (entry, squashes) if first is None else ()
        with stack.following(), Watch(terms, rectifiers, *once):
            step = rig.step(there)
        for hook in hooks:
            hook.remove()
        losses.append(step.loss.detach())
        norms.append(_gradient_norms(rig, step.loss))
        held = Probed(there, _detached(terms.terms))
        if first is None:
            first = (step.loss.requires_grad, held.terms, _detached_tree(step.output))
        if len(probed) == number and _numbers(held) <= KEPT / BATCHES:
            probed.append(held)
    assert first is not None
    _more_positions(lab, rig, rectifiers)
    weights = [float(p.detach().norm()) for _, p in rig.trainable()]
    unsure = first[0] and any(not n or not math.isfinite(n) for batch in norms for n in batch)
    settled = _settled_norms(lab, rig) if unsure else [None] * len(weights)
    return Trace(
        losses=tuple(torch.stack(losses).tolist()),
        requires_grad=first[0],
        terms=first[1],
        probed=tuple(probed) if len(probed) == len(losses) else (),
        output=first[2],
        gradients=_records(rig, norms, weights, settled),
        rectifiers=rectifiers.records(),
        layers=recorder.stats(),
        saturations=squashes.records(),
        entry=entry.entry,
    )


def _numbers(held: Probed) -> int:
    compared = [[t.prediction, t.target] for t in held.terms]
    return sum(leaf.numel() for leaf in tree.leaves([held.batch, compared]))


def _more_positions(lab: Lab, rig: Rig, rectifiers: RectifierObserver) -> None:
    """Forward passes only, until each rectifier was seen at enough positions to call the units
    dead that did not fire: on a small batch a squeeze-and-excite bottleneck looks dead when it is
    not."""
    for batch in lab.train_batches[BATCHES:]:
        if not rectifiers.unsure(POSITIONS):
            return
        with rig.looking(), rectifiers.stack.following(), Watch(rectifiers):
            rig.step(rig.put(batch))


def _gradient_norms(rig: Rig, loss: torch.Tensor) -> list[float | None]:
    """Norm of each trainable tensor's gradient, one synchronisation for all."""
    rig.model.zero_grad(set_to_none=True)
    if isinstance(rig.loss, nn.Module):
        rig.loss.zero_grad(set_to_none=True)
    if loss.requires_grad:
        rig.backward(loss)
    return gradient_norms([p for _, p in rig.trainable()])


def gradient_norms(parameters: Sequence[nn.Parameter]) -> list[float | None]:
    """Euclidean norm of each `.grad` (None where there is none), with one synchronisation."""
    grads = [p.grad for p in parameters]
    present = [_dense(g).norm().to(torch.float64) for g in grads if g is not None]
    values = iter(torch.stack(present).tolist() if present else [])
    return [None if g is None else next(values) for g in grads]


def _dense(gradient: torch.Tensor) -> torch.Tensor:
    gradient = gradient.detach()
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _settled_norms(lab: Lab, rig: Rig) -> list[float | None]:
    """Gradient norms after three Adam steps: what is zero now was not zero by initialisation."""
    parameters = _dense_only([p for _, p in rig.trainable()])
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=can_fuse(parameters))
    batches = lab.train_batches
    for number in range(SETTLING_STEPS):
        loss = rig.step(rig.put(batches[number % len(batches)])).loss
        rig.model.zero_grad(set_to_none=True)
        if not loss.requires_grad:
            break
        rig.backward(loss)
        densify(optimizer)
        rig.meter.steps += 1
        optimizer.step()
    return _gradient_norms(rig, rig.step(rig.put(batches[0])).loss)


def _dense_only(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    return [p for p in parameters if p.is_floating_point() or p.is_complex()]


def _records(
    rig: Rig,
    norms: list[list[float | None]],
    weights: list[float],
    settled: Sequence[float | None],
) -> tuple[TensorGradient, ...]:
    return tuple(
        TensorGradient(
            name, tuple(p.shape), weights[i], tuple(batch[i] for batch in norms), settled[i]
        )
        for i, (name, p) in enumerate(rig.trainable())
    )


def _detached(terms: list[LossTerm]) -> tuple[LossTerm, ...]:
    """Loss terms without their graphs, so that a trace holds no memory of the pass."""
    return tuple(
        LossTerm(
            term.kind,
            term.func,
            _detached_tree(term.args),
            _detached_tree(dict(term.kwargs)),
            term.prediction.detach(),
            _detached_tree(term.target),
            term.value.detach(),
            term.location,
        )
        for term in terms
    )


def _detached_tree(value: Any) -> Any:
    return tree.map_leaves(value, torch.Tensor.detach)
