"""Does the loss start where a model that knows nothing starts?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from recipe_check import (
    Location,
    Meta,
    NotApplicable,
    Status,
    Verdict,
)

from ._initial_views import average, causes_of_level, fix_of, formula, plot_level, terms_table

_ORDER = (Status.FAIL, Status.WARN, Status.PASS)

if TYPE_CHECKING:
    from recipe_check import Lab

    from ._uninformative import LossLevel


@dataclass(frozen=True, kw_only=True)
class InitialLoss:
    """Compares the loss at the initial weights with that of knowing nothing, ln C for C classes.

    What it measures
    ----------------
    The user's own loss function is evaluated at the uninformative prediction (zero logits, equal
    probabilities, the mean of the targets) on the same targets, so that class weights,
    ignore_index, label smoothing and reductions are covered; the loss of the untrained model is
    compared with it over four batches and, where a factory exists, three initialisations. A loss
    that sums several of torch's losses is judged term by term.

    Why it matters
    --------------
    Too high means that the model starts confidently wrong and spends its first epochs unlearning;
    too low means that it has seen the label.

    How it decides
    --------------
    Ratio of measured to expected. fail: the loss is not finite, or, for classification, at least
    20 times the expectation (the farthest sound model of 181, a margin head, measured 18.9). warn:
    above 1.6 (regression: 4) and more than three standard errors (95 % of those 181 stay below
    1.62), or below 0.7
    of the best constant prediction (1 % lie below 0.86), or a sum reduction straight into the loss.

    Cost
    ----
    None of its own: it reads the shared trace (4 F, 4 B). 12 forward passes where the model comes
    from a factory; 2 more where the loss starts far above chance.

    Known limits
    ------------
    Losses that are written by hand have no known uninformative prediction and are skipped. Scores
    that do not change with the size of the last weight (cosines times a factor, as in ArcFace) may
    start up to 20 times above chance. Alone
    it passes on a softmax before the loss, which other checks find.

    Example
    -------
    Images left in 0..255 give 40 instead of ln(10) = 2.303.

    Fix
    ---
    Scale the inputs, initialise the last layer small, set its bias to the prior or target mean.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "verify loss @ init", "init well";
    CS231n, Neural Networks 3, "look for correct loss at chance performance".
    """

    meta: ClassVar[Meta] = Meta(
        id="initial-loss",
        stage="skeleton",
        title="The loss starts at chance",
        fail_title="The loss does not start at chance",
        cost="0 (shared trace) or 12 F",
    )
    high: float = 1.6  # ratio; 95 % of 181 sound architectures are below 1.62
    high_regression: float = 4.0  # ratio; outputs as wide as the targets alone give 2
    wrong: float = 20.0  # ratio; the farthest sound one is 18.9
    low: float = 0.7  # ratio to the best constant; 99 % of sound ones are above 0.86
    errors: float = 3.0  # standard errors of the mean

    def measure(self, lab: Lab) -> tuple[LossLevel, ...]:
        from ._uninformative import see_levels

        levels = see_levels(lab)
        if not levels:
            raise NotApplicable("no known loss function: what chance costs cannot be told")
        return levels

    def judge(self, seen: tuple[LossLevel, ...]) -> Verdict:
        verdicts = [self._verdict(level) for level in seen]
        if len(seen) == 1:
            return verdicts[0]
        worst = min(verdicts, key=lambda verdict: _ORDER.index(verdict.status))
        level = seen[verdicts.index(worst)]
        return replace(
            worst,
            message=f"{level.kind} (term {verdicts.index(worst) + 1} of {len(seen)}): "
            f"{worst.message}",
            details=(*worst.details, terms_table(seen)),
        )

    def _verdict(self, seen: LossLevel) -> Verdict:
        measured = average([s.measured for s in seen.samples])
        expected = average([s.expected for s in seen.samples])
        status, message = self._decide(seen, measured, expected)
        bad = status is not Status.PASS
        return Verdict(
            status=status,
            message=message,
            measured=f"{measured:.4g}",
            expected=f"{expected:.4g}" + formula(seen, expected),
            causes=causes_of_level(seen, measured, expected) if bad else (),
            fix=fix_of(seen, measured, expected) if bad else None,
            location=_location(seen) if bad else None,
            values={"measured": measured, "expected": expected, "logit_std": seen.spread},
            details=(plot_level(seen, expected),),
        )

    def _decide(self, seen: LossLevel, measured: float, expected: float) -> tuple[Status, str]:
        if not math.isfinite(measured):
            return Status.FAIL, f"the loss of the untrained model is {measured}"
        ratio = measured / expected if expected > 0 else math.inf
        spread = self.errors * _standard_error([s.measured - s.expected for s in seen.samples])
        if seen.classifying and ratio >= self.wrong:
            return Status.FAIL, _far(measured, expected, ratio, "starts confidently wrong")
        high = self.high if seen.classifying else self.high_regression
        if seen.scaled:
            return Status.PASS, (
                f"the loss starts at {measured:.4g}, chance is {expected:.4g}: normalised scores "
                "times a factor, which is meant to be confident"
            )
        if ratio > high and measured - expected > spread and expected > 1e-6:
            return Status.WARN, _far(measured, expected, ratio, "starts away from chance")
        if seen.summed and seen.classifying:
            return Status.WARN, (
                f"the loss is a sum over {seen.batch} samples: its gradient grows with the batch"
            )
        floor = average([min(s.best_constant, s.expected) for s in seen.samples])
        if seen.classifying and floor > 0 and measured < self.low * floor - spread:
            return Status.WARN, (
                f"the untrained model's loss {measured:.3g} is far below chance ({floor:.3g}): "
                "it is pretrained, or can see the label"
            )
        return Status.PASS, f"the loss starts at {measured:.4g}, chance is {expected:.4g}"


def _location(seen: LossLevel) -> Location | None:
    return (seen.broken.location if seen.broken else None) or seen.location


def _far(measured: float, expected: float, ratio: float, what: str) -> str:
    return f"the loss {what}: {measured:.4g} against {expected:.4g} for chance ({ratio:.3g} times)"


def _standard_error(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = average(values)
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))
