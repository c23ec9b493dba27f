"""Do activations keep their size over depth, and stay out of saturation?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Bars, Cause, Fix, Location, Meta, Status, Verdict

from ._tested import state_of

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Saturated:
    """One tanh or sigmoid: the share of its outputs within 2 % of an end of its range."""

    name: str
    op: str
    share: float
    location: Location | None


@dataclass(frozen=True)
class Activations:
    """Standard deviation of each weighted layer's output by depth, and squashing operations."""

    names: tuple[str, ...]
    stds: tuple[float, ...]
    correlation: float  # of log deviation with depth
    factor: float  # deviation of the last against the first, from the fitted line
    saturated: tuple[Saturated, ...]
    location: Location | None  # the first weighted layer


@dataclass(frozen=True, kw_only=True)
class ActivationScale:
    """Do activations keep their size over depth, and stay out of saturation?

    What it measures
    ----------------
    The standard deviation of every linear and convolutional layer's output on one batch at the
    initial weights, fitted as a line of its logarithm over depth; and for every tanh and sigmoid
    the share of outputs within 2 % of an end of the range.

    Why it matters
    --------------
    Signals that shrink or grow with every layer leave the last layers with noise or overflow; a
    saturated tanh has no gradient.

    How it decides
    --------------
    warn: over at least five layers before the last, the deviation changes by a factor of 1,000 or
    more, geometrically (correlation of its logarithm with depth above 0.9); more than 85 % of the
    outputs of a tanh or sigmoid are saturated.

    Cost
    ----
    None of its own: the shared trace.

    Known limits
    ------------
    Residual networks whose sum grows with depth are far below a factor of 1,000. Sigmoids that
    turn scores into probabilities at the very end are judged like others, unless all of them lie at
    one end: then the last bias was set to the odds of a rare class.

    Example
    -------
    `nn.init.normal_(layer.weight, std=0.01)` on ten layers of 64 units: factor 1e-10.

    Fix
    ---
    He initialisation for ReLU, Glorot for tanh; normalisation layers; scaled inputs.

    Sources
    -------
    Glorot & Bengio 2010; He et al. 2015; TheDeepChecker (TOSEM 2022), saturation 0.85.
    """

    meta: ClassVar[Meta] = Meta(
        id="activation-scale",
        stage="model",
        severity="warning",
        title="Activations keep their size",
        fail_title="Activations lose their size",
        cost="0 (shared trace)",
        preset="quick",
    )
    factor: float = 1e3  # default initialisation under ReLU shrinks by 0.4 a layer, to its biases
    straight: float = 0.9  # correlation of log deviation with depth
    share: float = 0.85  # of saturated outputs (TheDeepChecker)

    def measure(self, lab: Lab) -> Activations:
        from ._activations import see_activations

        return see_activations(lab)

    def judge(self, seen: Activations) -> Verdict:
        full = [s for s in seen.saturated if s.share > self.share]
        drifts = (
            abs(seen.correlation) > self.straight
            and max(seen.factor, 1 / max(seen.factor, 1e-300)) >= self.factor
        )
        text, fix = f"{len(seen.names)} layers, deviations {_span(seen.stds)}", ""
        if full:
            text = f"{full[0].share:.0%} of the outputs of {full[0].name} ({full[0].op}) are " \
                "saturated: they have no gradient"  # fmt: skip
            fix = "scale the inputs, and start the weights smaller (Glorot)"
        elif drifts:
            way = "shrink" if seen.factor < 1 else "grow"
            text = f"activations {way} layer by layer to {seen.factor:.1e} of the first layer's"
            fix = "use He (ReLU) or Glorot (tanh) initialisation, or normalisation layers"
        return Verdict(
            status=Status.WARN if fix else Status.PASS,
            message=text,
            measured=f"factor {seen.factor:.2g} over {len(seen.names)} layers",
            expected=f"1e-3 to 1e3, at most {self.share:.0%} saturated",
            causes=self._causes(bool(full), drifts) if fix else (),
            fix=Fix(text=fix) if fix else None,
            location=(full[0].location if full else seen.location) if fix else None,
            values={"factor": seen.factor},
            details=(_plot(seen),) if seen.names else (),
        )

    @staticmethod
    def _causes(full: bool, drifts: bool) -> tuple[Cause, ...]:
        return (
            Cause(title="a saturated tanh or sigmoid", state=state_of(full)),
            Cause(title="the initialisation does not keep the variance", state=state_of(drifts),
                  check="weight-init"),
        )  # fmt: skip


def _span(stds: tuple[float, ...]) -> str:
    return f"{min(stds):.2g} to {max(stds):.2g}" if stds else "none"


def _plot(seen: Activations) -> Bars:
    return Bars(
        title="Standard deviation of each layer's output, by depth",
        value_label="standard deviation",
        names=seen.names,
        values=seen.stds,
        log_y=True,
        caption="At the initial weights on one batch; first layer on top",
    )
