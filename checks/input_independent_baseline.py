"""Does the model learn from its inputs?"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import (
    Cause,
    CauseState,
    Fix,
    Location,
    Meta,
    Status,
    Verdict,
)

from ._arm_values import Arm, Arms, faster, gain
from ._arm_views import FIX, plot
from ._rerun_arms import TwoRuns, judge_two_runs, see_two_runs

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True, kw_only=True)
class InputIndependentBaseline:
    """Trains on real, on zeroed and on mismatched inputs, and compares on held-out data.

    What it measures
    ----------------
    Three short fits from the same start, in the same order: real inputs; all inputs zero (tokens:
    one constant token; masks kept); real inputs with the labels dealt out anew. Each is judged by
    its best loss over time on batches it was not trained on.

    Why it matters
    --------------
    If zeroed inputs do as well, the model does not use its input; if shuffled labels do as well,
    inputs and labels do not belong together, however far the training loss falls.

    How it decides
    --------------
    The advantage of real inputs on held-out pieces, paired. pass: over both controls at least 5 %
    with t > 3, or t > 6; or a training loss that is below that of shuffled labels, after as many
    steps, by a tenth of the zeroed arm's (labels that have nothing to do with the inputs are
    learned as slowly as shuffled ones). fail: not so, although the real arm learned its training
    batches by heart (30 % below the zeroed arm), or could not fit even one batch; or zeroed
    inputs get 15 % below the cost of knowing only the class frequencies: something else carries
    the label; training samples that were held out are told apart, validation samples only where
    their classes are renamed. warn: undecided when the steps (skip: the time) ended; another
    mistake comes first (inputs not scaled, samples that mix); validation samples at chance,
    held-out training samples not.

    Cost
    ----
    20 to 400 training steps for each of three arms, and a look at the held-out batches every 20;
    400 more where held-out validation data are not reached.

    Known limits
    ------------
    Tasks with very little signal need more steps than this and stay undecided. Skipped where the
    target is the input (autoencoders, contrastive learning).

    Example
    -------
    Features and labels shuffled with different seeds: one batch overfits, held-out loss never
    beats the prior.

    Fix
    ---
    Shuffle x and y with the same permutation; look at inputs and labels side by side in the
    report; follow the input through forward().

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "input-independent baseline"; Zhang et
    al. 2017 (networks memorise random labels).
    """

    meta: ClassVar[Meta] = Meta(
        id="input-independent-baseline",
        stage="skeleton",
        title="Learns from its inputs",
        fail_title="Does no better than without its inputs",
        cost="60 to 1200 S",
        after=("overfit-one-batch",),
        preset="default",
        seeded=True,
    )
    steps: int = 400  # for each arm
    seconds: float = 24.0  # for all arms
    min_gain: float = 0.05  # of the control's loss
    t: float = 3.0  # paired, over held-out pieces (CHECKS)
    t_alone: float = 6.0  # enough without a minimal gain: little signal is a signal
    faster: float = 0.1  # of the zeroed loss, at which real labels train below shuffled ones
    t_hint: float = 1.5  # over shuffled labels: too much to say that there is no signal
    memorised: float = 0.3  # training loss this far below the zeroed arm's
    leak: float = 0.15  # zeroed inputs this far below the prior

    def measure(self, lab: Lab) -> Arms:
        from ._arms import see_arms

        return see_arms(lab, self.steps, self.seconds, self._decided)

    def _decided(self, seen: Arms) -> bool:
        return self._beats(seen, seen.zeros) and self._beats(seen, seen.permuted)

    def _beats(self, seen: Arms, control: Arm) -> bool:
        share, t = gain(seen.real.best, control.best)
        return (share >= self.min_gain and t > self.t) or t > self.t_alone

    def borderline(self, seen: Arms) -> bool:
        """Undecided, or misaligned with a trace of a signal."""
        diagnosis = self._diagnosis(seen)
        share, t = gain(seen.real.best, seen.permuted.best)
        if diagnosis == "elsewhere":
            return False
        return diagnosis == "undecided" or (diagnosis == "misaligned" and (share > 0 or t > 0))

    def observe(self, lab: Lab) -> TwoRuns:
        return see_two_runs(lab)

    def judge(self, seen: Arms | TwoRuns) -> Verdict:
        if isinstance(seen, TwoRuns):
            return judge_two_runs(seen)
        status, message = self._decide(seen)
        real, zeros, permuted = (a.best.mean for a in (seen.real, seen.zeros, seen.permuted))
        bad = status in (Status.FAIL, Status.WARN)
        return Verdict(
            status=status,
            message=message,
            measured=f"{real:.3g} real, {zeros:.3g} zeros, {permuted:.3g} shuffled",
            expected="real lowest",
            causes=self._causes(seen) if bad else (),
            fix=Fix(text=self._fix(seen)) if bad else None,
            location=self._place(seen) if bad else None,
            values={"real": real, "zeros": zeros, "permuted": permuted,
                    "t_zeros": gain(seen.real.best, seen.zeros.best)[1],
                    "t_permuted": gain(seen.real.best, seen.permuted.best)[1]},
            details=(plot(seen),),
        )  # fmt: skip

    def _place(self, seen: Arms) -> Location | None:
        diagnosis = self._diagnosis(seen)
        if diagnosis == "elsewhere" and seen.culprit is not None:
            return seen.culprit.location
        return seen.location if diagnosis == "misaligned" else None

    def _leaks(self, seen: Arms) -> bool:
        held = seen.zeros.best.held  # rare classes make these losses uneven
        if seen.prior is None or not (seen.all_inputs_blank and all(map(math.isfinite, held))):
            return False
        error = statistics.stdev(held) / math.sqrt(len(held)) if len(held) > 1 else 0.0
        below = seen.prior - seen.zeros.best.mean
        return below > self.leak * seen.prior and below > self.t * error

    def _decide(self, seen: Arms) -> tuple[Status, str]:
        diagnosis = self._diagnosis(seen)
        zeros, real = seen.zeros.best.mean, seen.real.best.mean
        if diagnosis == "leak":
            return Status.FAIL, (
                f"with all inputs zeroed the held-out loss is {zeros:.3g}, below the "
                f"{seen.prior:.3g} of the class frequencies: something else carries the label"
            )
        if diagnosis == "elsewhere" and seen.culprit is not None:
            return seen.culprit.status, f"held-out loss {real:.3g}: {seen.culprit.message}"
        if diagnosis == "learns":
            return Status.PASS, f"real inputs reach {real:.3g} on held-out data, zeros {zeros:.3g}"
        if diagnosis == "related":
            share = faster(seen.real, seen.permuted, seen.zeros.rounds[-1].train)
            return Status.PASS, (
                f"held-out data are not reached yet ({real:.3g}, zeros {zeros:.3g}), but real "
                f"labels are learned faster than shuffled ones (by {share:.0%} of the loss)"
            )
        if diagnosis == "misaligned":
            return Status.FAIL, (
                f"the training loss fell to {seen.real.rounds[-1].train:.3g}, but held-out loss "
                f"{real:.3g} is no better than with shuffled labels "
                f"({seen.permuted.best.mean:.3g}): inputs and labels do not belong together"
            )
        if diagnosis == "ignored":
            return Status.FAIL, (
                f"after {seen.steps} steps real inputs ({real:.3g}) are no better than zeros "
                f"({zeros:.3g}), and one batch cannot be fitted either"
            )
        levels = f"{real:.3g} with real inputs, {zeros:.3g} with zeros, on held-out data"
        took = seen.zeros.rounds[-1].step
        if took < self.steps:
            return (
                Status.SKIP,
                f"undecided: time was up after {took} of {self.steps} steps; {levels}",
            )
        return Status.WARN, f"undecided after {seen.steps} steps: {levels}"

    def _diagnosis(self, seen: Arms) -> str:
        if self._leaks(seen):
            return "leak"
        if self._decided(seen):
            return "learns"
        if seen.culprit is not None and seen.culprit.early:
            return "elsewhere"
        train, control = seen.real.rounds[-1].train, seen.zeros.rounds[-1].train
        share, t = gain(seen.real.best, seen.permuted.best)
        known = gain(seen.real.best, seen.zeros.best)[1]  # a signal beats both controls
        signal = share >= self.min_gain or min(t, known) > self.t_hint
        if faster(seen.real, seen.permuted, control) >= self.faster:
            return "related"
        if control - train >= self.memorised * abs(control) and not signal:
            return "misaligned" if seen.culprit is None else "elsewhere"
        return "ignored" if seen.batch_progress < 0.5 else "undecided"

    def _causes(self, seen: Arms) -> tuple[Cause, ...]:
        diagnosis = self._diagnosis(seen)
        titles = {
            "misaligned": "labels and inputs are misaligned (shuffled independently)",
            "ignored": "the model cannot learn at all: the input does not reach the output",
            "leak": "the label leaks through something other than the inputs",
        }
        checks = {"ignored": "overfit-one-batch"}
        culprit = seen.culprit if diagnosis == "elsewhere" else None
        other = [Cause(title=c.title, state=CauseState.MATCHES, check=c.check)
                 for c in [culprit] if c is not None]  # fmt: skip
        return tuple(other) + tuple(
            Cause(
                title=title,
                state=CauseState.MATCHES if key == diagnosis else CauseState.RULED_OUT,
                evidence=self._evidence(seen, key),
                check=checks.get(key, ""),
            )
            for key, title in titles.items()
        )

    def _fix(self, seen: Arms) -> str:
        diagnosis = self._diagnosis(seen)
        elsewhere = diagnosis == "elsewhere" and seen.culprit is not None
        return seen.culprit.fix if elsewhere and seen.culprit else FIX[diagnosis]

    def _evidence(self, seen: Arms, key: str) -> str:
        if key == "misaligned":
            return (
                f"training loss {seen.real.rounds[-1].train:.3g}, zeroed "
                f"{seen.zeros.rounds[-1].train:.3g}; held-out gain over shuffled labels "
                f"{gain(seen.real.best, seen.permuted.best)[0]:.1%}"
            )
        if key == "ignored":
            return f"one batch was fitted {seen.batch_progress:.0%} of the way"
        prior = "unknown" if seen.prior is None else f"{seen.prior:.3g}"
        return f"zeros {seen.zeros.best.mean:.3g}, class frequencies {prior}"
