"""Are there rectifiers whose units never fire?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import (
    Bars,
    Cause,
    CauseState,
    Fix,
    Location,
    Mark,
    Meta,
    NotApplicable,
    Status,
    Verdict,
)

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class DeadUnits:
    """One rectifier: how many of its units never fired, and what entered it."""

    name: str
    location: Location | None
    dead: int
    units: int
    positions: int
    input_mean: float
    bias: float | None  # mean of the preceding layer's bias, None where there is none

    @property
    def share(self) -> float:
        return self.dead / self.units


@dataclass(frozen=True, kw_only=True)
class DeadRelu:
    """Counts the units of every rectifier that never fire on a few batches.

    What it measures
    ----------------
    Every rectifier of a forward pass, module or functional call (relu, relu6, clamp at zero), is
    watched over several training batches. A unit (a feature or channel) is dead when it is never
    above zero at 256 or more positions (samples, tokens or pixels).

    Why it matters
    --------------
    A dead unit outputs zero and passes no gradient: it cannot recover. A layer of dead units cuts
    everything before it off from the loss.

    How it decides
    --------------
    Share of dead units in one rectifier. fail: above 90 %. warn: above 50 %; sound networks
    measured 0-15 %, classifiers of the VGG kind up to 40 %. Below 256 positions no unit is called
    dead.

    Cost
    ----
    None of its own: it reads the shared trace (forward passes over at most 40 batches).

    Known limits
    ------------
    A unit that fires once in a thousand samples looks dead on 256. Idle experts and very sparse
    inputs are honest silence.

    Example
    -------
    `nn.init.constant_(self.fc1.bias, -5.0)` before `F.relu(self.fc1(x))`.

    Fix
    ---
    Use the default initialisation (He for ReLU), normalise the inputs, lower the learning rate,
    or use a leaky activation.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019); CS231n, Neural Networks 1 (dying ReLU);
    SageMaker Debugger rule DyingRelu (50 % of units).
    """

    meta: ClassVar[Meta] = Meta(
        id="dead-relu",
        stage="skeleton",
        title="Rectified units fire",
        fail_title="Rectified units never fire",
        cost="0 (shared trace)",
        after=("initial-loss", "gradient-norms"),
        group="gradients",
    )
    warn_share: float = 0.5  # of a layer's units; SageMaker's dying_relu threshold
    fail_share: float = 0.9  # of a layer's units: nothing is left to learn with
    least_positions: int = 256  # samples, tokens or pixels before a unit counts as dead

    def measure(self, lab: Lab) -> tuple[DeadUnits, ...]:
        from ._layers import bias_before

        found = tuple(
            DeadUnits(
                name=r.module or f"{r.op} after {r.before or 'input'}",
                location=r.location,
                dead=r.dead,
                units=len(r.fired),
                positions=r.positions,
                input_mean=r.input_mean,
                bias=bias_before(lab, r),
            )
            for r in lab.trace.rectifiers
        )
        if not found:
            raise NotApplicable("the model has no ReLU")
        return found

    def judge(self, seen: tuple[DeadUnits, ...]) -> Verdict:
        decided = [s for s in seen if s.positions >= self.least_positions or not s.dead]
        if not decided:
            most = max(s.positions for s in seen)
            return Verdict(
                status=Status.SKIP,
                message=f"too little data: {most} positions, {self.least_positions} are needed",
            )
        worst = max(decided, key=lambda s: s.share)
        status = Status.PASS
        if worst.share > self.warn_share:
            status = Status.FAIL if worst.share > self.fail_share else Status.WARN
        return Verdict(
            status=status,
            message=self._message(worst, decided),
            measured=f"{worst.name}: {worst.dead} of {worst.units} units dead",
            expected=f"at most {self.warn_share:.0%}",
            causes=_causes(worst) if status is not Status.PASS else (),
            fix=_fix(worst) if status is not Status.PASS else None,
            location=worst.location if status is not Status.PASS else None,
            values={"worst_share": worst.share},
            details=(self._plot(seen),),
        )

    def _message(self, worst: DeadUnits, decided: list[DeadUnits]) -> str:
        bad = [s for s in decided if s.share > self.warn_share]
        if not bad:
            return f"at most {worst.share:.0%} of a layer's units are silent"
        also = f" ({len(bad)} layers in all)" if len(bad) > 1 else ""
        return (
            f"{worst.dead} of {worst.units} units of {worst.name} are zero on all "
            f"{worst.positions} positions{also}: they pass no gradient"
        )

    def _plot(self, seen: tuple[DeadUnits, ...]) -> Bars:
        return Bars(
            title="Dead units in each rectifier",
            value_label="share of units that never fire",
            names=tuple(f"{s.name} ({s.dead}/{s.units})" for s in seen),
            values=tuple(s.share for s in seen),
            marks=(Mark(name="limit", value=self.warn_share),),
            caption="In the order of the forward pass; 0 means that every unit fires sometimes",
        )


def _causes(worst: DeadUnits) -> tuple[Cause, ...]:
    negative = worst.bias is not None and worst.bias < -0.1
    bias = "no bias before it" if worst.bias is None else f"its mean is {worst.bias:.3g}"
    low = worst.input_mean < 0
    return (
        Cause(
            title="a strongly negative bias in the layer before",
            state=CauseState.MATCHES if negative else CauseState.RULED_OUT,
            evidence=bias,
        ),
        Cause(
            title="what enters the rectifier is negative on average",
            state=CauseState.MATCHES if low else CauseState.RULED_OUT,
            evidence=f"mean {worst.input_mean:.3g}",
        ),
    )


def _fix(worst: DeadUnits) -> Fix:
    if worst.bias is not None and worst.bias < -0.1:
        return Fix(text="start that bias at zero (the default), not below")
    return Fix(text="use He initialisation and normalised inputs, or a leaky activation")
