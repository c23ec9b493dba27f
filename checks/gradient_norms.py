"""Does every trainable tensor get a gradient of a sane size?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import (
    Fix,
    Meta,
    Status,
    Verdict,
)

from ._depth import decay_over_depth
from ._gradient_views import (
    decay_causes,
    finite_causes,
    fix_of,
    graph_causes,
    largest_norm,
    plot_norms,
)

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.trace import TensorGradient

    from ._gradient_stops import Stop


@dataclass(frozen=True)
class Gradients:
    """What the probe saw; `cut` is the operation through which no gradient comes, `nonfinite`
    the one that made NaN or infinity."""

    attached: bool
    losses: tuple[float, ...]
    tensors: tuple[TensorGradient, ...]  # those the optimizer holds, in model order
    cut: Stop | None
    nonfinite: Stop | None
    dead: str  # a rectifier that is almost dead, '' where there is none
    trainable: int
    frozen: int


@dataclass(frozen=True, kw_only=True)
class GradientNorms:
    """Looks at the gradient of every trainable tensor at the start and after three steps.

    What it measures
    ----------------
    The Euclidean norm of each trainable tensor's gradient on four training batches at the initial
    weights, and once more after three training steps on a copy, since zero-initialised heads and
    branches block gradients at the first step by design.

    Why it matters
    --------------
    A tensor without a gradient never learns; a gradient of NaN destroys every weight at the first
    step; one that shrinks with every layer leaves the early layers at their random start.

    How it decides
    --------------
    fail: the loss does not depend on any trainable parameter; a loss or gradient that is NaN or
    infinite; half or more of the trainable weights (by number of elements, tensors with two or
    more dimensions) without a gradient both at the start and after three steps; a geometric decay
    over at least four layers to less than 1e-6 of the largest. warn: single weight tensors
    without a gradient; a decay to less than 1e-4; a global norm above 1e6. Biases are never
    judged: those before a normalisation and key biases of attention have a gradient of zero by
    algebra.

    Cost
    ----
    None of its own: it reads the shared trace (8 F, 8 B, 3 S). One more forward and backward pass
    name the operation and its line where something was found.

    Known limits
    ------------
    Experts that no token of four batches chose, and auxiliary heads outside the loss, are warned
    of. A large ratio between tensors alone says nothing: layer scale makes 1e9 by design.

    Example
    -------
    `features = self.trunk(x).detach()` leaves the trunk at its initial weights.

    Fix
    ---
    Remove the operation that leaves the graph (detach, item, numpy, argmax, torch.tensor of a
    result); for vanishing gradients use residual connections, normalisation, or ReLU-like
    activations with the matching initialisation.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019); CS231n, Neural Networks 3; Goyal et al.
    2017 and Zhang et al. 2019 (zero-initialised branches); SageMaker Debugger rule
    VanishingGradient.
    """

    meta: ClassVar[Meta] = Meta(
        id="gradient-norms",
        stage="skeleton",
        title="Gradients reach every weight",
        fail_title="Gradients do not reach the weights",
        cost="0 (shared trace)",
        after=("initial-loss", "batch-dependency"),
        group="gradients",
    )
    silent_share: float = 0.5  # of the weights' elements, without a gradient: fail
    decay_warn: float = 1e-4  # first layers' gradient against the largest (CHECKS: 1e-4)
    decay_fail: float = 1e-6  # below float32's resolution of the update
    largest: float = 1e6  # global norm

    def measure(self, lab: Lab) -> Gradients:
        from ._gradients import see_gradients

        return see_gradients(lab)

    def observe(self, lab: Lab) -> Gradients:
        from ._rerun_fit import gradients_observed as see

        return see(lab)

    def judge(self, seen: Gradients) -> Verdict:
        for look in (self._detached, self._nonfinite, self._silent, self._decay, self._large):
            verdict = look(seen)
            if verdict is not None:
                return verdict
        norms = [n for n in map(largest_norm, seen.tensors) if n is not None and n > 0]
        span = f"{min(norms):.1e} to {max(norms):.1e}" if norms else "no trainable tensor"
        return Verdict(
            status=Status.PASS,
            message=f"every weight has a gradient, norms from {span}",
            measured=span,
            expected="finite, none missing",
            values={"tensors": len(seen.tensors)},
            details=plot_norms(seen),
        )

    def _detached(self, seen: Gradients) -> Verdict | None:
        if seen.attached:
            return None
        frozen = not seen.trainable
        text = (
            "no parameter is trainable: all have requires_grad=False"
            if frozen
            else "the loss does not depend on any trainable parameter: it has no gradient"
        )
        fix = (
            "leave requires_grad=True on what should learn"
            if frozen
            else "keep the loss in the autograd graph: no detach, item, numpy, argmax or "
            "torch.tensor(...) between the parameters and the loss"
        )
        return Verdict(
            status=Status.FAIL,
            message=text,
            measured="no gradient",
            expected="a gradient for each weight",
            causes=graph_causes(seen),
            fix=Fix(text=fix),
            location=seen.cut.location if seen.cut else None,
        )

    def _nonfinite(self, seen: Gradients) -> Verdict | None:
        losses = [loss for loss in seen.losses if not math.isfinite(loss)]
        bad = [t.name for t in seen.tensors if any(n is not None and not math.isfinite(n)
                                                   for n in (*t.norms, t.settled))]  # fmt: skip
        if not losses and not bad:
            return None
        what = f"the loss is {losses[0]}" if losses else f"the gradient of {bad[0]} is not finite"
        return Verdict(
            status=Status.FAIL,
            message=f"{what} within the first training steps ({len(bad)} tensors affected)",
            measured="NaN or infinite",
            expected="finite",
            causes=finite_causes(seen),
            location=seen.nonfinite.location if seen.nonfinite else None,
            fix=Fix(text="guard logarithms, divisions and square roots with a small constant"),
            details=plot_norms(seen),
        )

    def _silent(self, seen: Gradients) -> Verdict | None:
        weights = [t for t in seen.tensors if len(t.shape) >= 2]
        silent = [t for t in weights if not _alive(t)]
        if not silent:
            return None
        total = sum(math.prod(t.shape) for t in weights)
        share = sum(math.prod(t.shape) for t in silent) / total
        serious = share >= self.silent_share
        names = ", ".join(t.name for t in silent[:4]) + (" …" if len(silent) > 4 else "")
        return Verdict(
            status=Status.FAIL if serious else Status.WARN,
            message=f"{len(silent)} of {len(weights)} weight tensors ({share:.0%} of the weights) "
            f"get no gradient, also after three steps: {names}",
            measured=f"{len(silent)} of {len(weights)} weights without gradient",
            expected="0",
            causes=graph_causes(seen),
            fix=fix_of(seen),
            location=seen.cut.location if seen.cut else None,
            values={"silent_share": share},
            details=plot_norms(seen),
        )  # fmt: skip

    def _decay(self, seen: Gradients) -> Verdict | None:
        weights = [t for t in seen.tensors if len(t.shape) >= 2]
        decay = decay_over_depth(
            [largest_norm(t) for t in weights], [t.weight_norm for t in weights]
        )
        if decay is None or decay.factor > self.decay_warn:
            return None
        return Verdict(
            status=Status.FAIL if decay.factor < self.decay_fail else Status.WARN,
            message=f"gradients shrink layer by layer to {decay.factor:.1e} of the largest: "
            "the first layers stay at their random start",
            measured=f"factor {decay.factor:.1e} over {decay.layers} layers",
            expected=f"above {self.decay_warn:g}",
            causes=decay_causes(decay),
            fix=Fix(text="add residual connections or normalisation, or use ReLU-like activations "
                    "with He initialisation"),
            values={"decay": decay.factor},
            details=plot_norms(seen),
        )  # fmt: skip

    def _large(self, seen: Gradients) -> Verdict | None:
        norms = [n for n in map(largest_norm, seen.tensors) if n is not None]
        total = math.sqrt(sum(n * n for n in norms))
        if total <= self.largest:
            return None
        return Verdict(
            status=Status.WARN,
            message=f"the gradient's norm is {total:.1e} at the start",
            measured=f"{total:.1e}",
            expected=f"below {self.largest:g}",
            fix=Fix(text="scale inputs and targets, average the loss, or clip the gradient"),
            values={"global_norm": total},
            details=plot_norms(seen),
        )


def _alive(tensor: TensorGradient) -> bool:
    later = (tensor.settled,)
    return any(n is not None and n != 0 for n in (*tensor.norms, *later))
