"""Are the classes about equally frequent, or the rare ones lifted?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Bars, Cause, CauseState, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Balance:
    """Labels by class as the loader yields them, one label a sample."""

    counts: tuple[int, ...]
    lifted: str  # what lifts rare classes ("class weights"), '' where nothing does
    known: bool  # the loss is one of torch's alone: nothing else can lift them
    whole: bool  # the whole loader was read
    location: Location | None = None  # the line that made the loader
    natural: tuple[int, ...] = ()  # of the data set behind a weighted sampler
    unseen: tuple[int, int] = (0, 0)  # validation samples of missing classes, and all of them

    @property
    def present(self) -> tuple[int, ...]:
        return tuple(count for count in self.counts if count)

    @property
    def inverted(self) -> bool:
        """Whether the sampler's weights make the classes at least twice as uneven as they are."""
        before = [count for count in self.natural if count]
        return len(before) > 1 and self.ratio >= 2 * max(before) / min(before)

    @property
    def ratio(self) -> float:
        """Most frequent against rarest class that occurs."""
        return max(self.present) / min(self.present) if self.present else 1.0

    @property
    def entropy(self) -> float:
        """Of the class frequencies, in nats: the loss of the best constant prediction."""
        total = sum(self.counts)
        return -sum(c / total * math.log(c / total) for c in self.present)

    @property
    def evenness(self) -> float:
        """Entropy as a share of its maximum."""
        return self.entropy / math.log(max(len(self.counts), 2))


@dataclass(frozen=True, kw_only=True)
class ClassBalance:
    """Are the classes about equally frequent, or the rare ones lifted?

    What it measures
    ----------------
    Labels by class over the whole loader, after any sampler. Class weights, pos_weight and losses
    that are written by hand (focal) count as a lift of rare classes.

    Why it matters
    --------------
    At 100 to 1 the constant answer has an accuracy of 99 %, and gradients of the rare class drown.

    How it decides
    --------------
    warn: the most frequent class is at least 10 times as frequent as the rarest, the entropy of the
    classes is below half of its maximum (or the ratio is 50 or more), and nothing lifts it; a class
    of at most 100 that never occurs in at least 20 labels a class; a weighted sampler that leaves
    the classes twice as uneven as they are in the data set (500 of its samples are fetched). Never
    fail: a skewed world is no defect.

    Cost
    ----
    None of its own: the shared reading of the data and the shared trace.

    Known limits
    ------------
    Only one label a sample is looked at: tokens and pixels are imbalanced by nature.

    Example
    -------
    Fraud detection with 1 % of frauds, plain binary cross-entropy.

    Fix
    ---
    WeightedRandomSampler, class weights of 1 / count, or pos_weight; start the last bias at the log
    of the class frequencies, so that the first steps need not learn them.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "init well"; SageMaker Debugger rule
    ClassImbalance (ratio 10); Lin et al. 2017 (focal loss, prior in the bias).
    """

    meta: ClassVar[Meta] = Meta(
        id="class-balance",
        stage="data",
        severity="warning",
        title="Classes are balanced, or weighted",
        fail_title="Rare classes are not lifted",
        cost="0 (shared)",
        after=("label-range",),
        preset="quick",
    )
    ratio: float = 10.0  # SageMaker Debugger's ClassImbalance
    skewed: float = 0.5  # of the largest entropy: a ratio alone is common with many classes
    extreme: float = 50.0  # ratio, whatever the entropy
    unseen: int = 5  # validation samples of missing classes: no chance of a rare class
    unseen_share: float = 0.05
    lifted: float = 3.0  # ratio that a sampler leaves, before it is compared with the data's
    each: int = 20  # labels a class, before a missing one counts
    classes: int = 100  # above, missing classes are no surprise

    def measure(self, lab: Lab) -> Balance:
        from ._balance import see_balance

        return see_balance(lab)

    def judge(self, seen: Balance) -> Verdict:
        status, message = self._decide(seen)
        bad = status is not Status.PASS
        return Verdict(
            status=status,
            message=message,
            measured=f"{seen.ratio:.3g} to 1",
            expected=f"below {self.ratio:g} to 1, or weighted",
            causes=_causes(seen) if bad else (),
            fix=Fix(text=_fix(seen)) if bad else None,
            location=seen.location if bad else None,
            values={"ratio": seen.ratio, "entropy": seen.entropy},
            details=(_bars(seen),),
        )

    def _decide(self, seen: Balance) -> tuple[Status, str]:
        missing = [i for i, count in enumerate(seen.counts) if not count]
        enough = sum(seen.counts) >= self.each * len(seen.counts) and seen.whole
        unseen = seen.unseen[0] >= max(self.unseen, self.unseen_share * seen.unseen[1])
        if missing and (enough or (unseen and seen.whole)) and len(seen.counts) <= self.classes:
            shown = ", ".join(map(str, missing[:8])) + (" …" if len(missing) > 8 else "")
            seen_later = seen.unseen[0]
            return Status.WARN, (
                f"{len(missing)} of {len(seen.counts)} classes never occur in "
                f"{sum(seen.counts)} labels: {shown}"
                + (f"; {seen_later} of {seen.unseen[1]} validation samples are of these classes"
                   if seen_later else "")
            )  # fmt: skip
        if seen.inverted and seen.ratio >= self.lifted:
            return Status.WARN, (
                f"the sampler lifts the frequent class: {seen.ratio:.3g} to 1, more uneven than "
                "the data set itself: its weights are inverted"
            )
        skewed = seen.evenness < self.skewed or seen.ratio >= self.extreme
        if seen.ratio >= self.ratio and skewed and not seen.lifted and seen.known:
            return Status.WARN, (
                f"the most frequent class is {seen.ratio:.3g} times as frequent as the rarest, and "
                "neither the sampler nor the loss lifts it"
            )
        lift = f", lifted by {seen.lifted}" if seen.lifted else ""
        return Status.PASS, f"classes occur at most {seen.ratio:.3g} to 1{lift}"


def _causes(seen: Balance) -> tuple[Cause, ...]:
    missing = any(not count for count in seen.counts)
    skewed = not seen.lifted and seen.known and not missing
    share = max(seen.counts) / max(sum(seen.counts), 1)
    return (
        Cause(
            title="the sampler's weights are inverted",
            state=CauseState.NOT_TESTED
            if not seen.natural
            else CauseState.MATCHES
            if seen.inverted
            else CauseState.RULED_OUT,
        ),
        Cause(
            title="class imbalance without weights or a sampler",
            state=CauseState.MATCHES if skewed else CauseState.RULED_OUT,
            evidence=f"always answering the most frequent class is right in {share:.1%}; entropy "
            f"{seen.entropy:.3g} of {math.log(max(len(seen.counts), 2)):.3g} nats",
        ),
        Cause(
            title="classes that never occur",
            state=CauseState.MATCHES if missing else CauseState.RULED_OUT,
        ),
    )


def _fix(seen: Balance) -> str:
    if seen.inverted:
        return "weight each sample by 1 / the count of its class, not by the count"
    total = sum(seen.counts)
    if len(seen.counts) == 2 and seen.counts[1]:
        odds = seen.counts[0] / seen.counts[1]
        return (
            f"weight the rare class (pos_weight={odds:.3g}, or weight=1/count), or use a "
            f"WeightedRandomSampler; start the last bias at {-math.log(max(odds, 1e-9)):.3g}"
        )
    shown = ", ".join(f"{math.log(max(c, 1) / total):.2f}" for c in seen.counts[:10])
    return (
        "use weight=1/count in the loss or a WeightedRandomSampler; start the last bias at the log "
        f"frequencies: [{shown}{', …' if len(seen.counts) > 10 else ''}]"
    )


def _bars(seen: Balance) -> Bars:
    return Bars(
        title="Labels by class",
        value_label="count",
        names=tuple(str(i) for i in range(min(len(seen.counts), 40))),
        values=tuple(float(count) for count in seen.counts[:40]),
    )
