"""The evidence of `input-independent-baseline`: three fits, judged on held-out data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipe_check import Location

    from ._culprits import Culprit


@dataclass(frozen=True)
class Round:
    """After `step` training steps: mean training loss, and the loss of each held-out piece."""

    step: int
    train: float
    held: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.held) / len(self.held)


@dataclass(frozen=True)
class Arm:
    """One of the three fits."""

    name: str
    rounds: tuple[Round, ...]

    @property
    def best(self) -> Round:
        """The round with the lowest held-out loss: over-fitting later does not count."""
        finite = [r for r in self.rounds if math.isfinite(r.mean)] or list(self.rounds)
        return min(finite, key=lambda r: r.mean)


@dataclass(frozen=True)
class Arms:
    """All three, how far one batch could be fitted, and the cost of knowing the prior only."""

    real: Arm
    zeros: Arm
    permuted: Arm
    batch_progress: float
    rate: float
    prior: float | None
    all_inputs_blank: bool
    location: Location | None = None  # where samples or labels were put in another order
    culprit: Culprit | None = None  # what else keeps the model from held-out data

    @property
    def steps(self) -> int:
        return self.real.rounds[-1].step


def faster(real: Arm, control: Arm, scale: float) -> float:
    """How far the training loss of the real arm is below the control's after as many steps, in
    units of `scale`: random labels are learned more slowly than real ones (Zhang et al. 2017)."""
    last = control.rounds[-1]
    same = [r for r in real.rounds if r.step == last.step]
    return (last.train - same[-1].train) / max(abs(scale), 1e-12) if same else 0.0


def gain(real: Round, control: Round) -> tuple[float, float]:
    """Relative advantage of the real arm on held-out pieces, and its paired t statistic."""
    differences = [c - r for r, c in zip(real.held, control.held, strict=True)]
    mean = sum(differences) / len(differences)
    size = abs(control.mean) or 1.0
    if len(differences) < 2:
        return mean / size, math.inf if mean > 0 else 0.0
    variance = sum((d - mean) ** 2 for d in differences) / (len(differences) - 1)
    error = math.sqrt(variance / len(differences))
    t = mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
    return mean / size, t
