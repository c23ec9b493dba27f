"""Do samples that look alike carry the same label?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Neighbours:
    """Labels against those of the nearest samples.

    `agreement` is the share of samples whose label is the most frequent one among their
    neighbours; `uneven` the variance over samples of that label's share of the votes, in units of
    what the same wrong labels everywhere would give (1); `chance` the share of the largest class.
    `fading` is the share of their agreement (above chance) that ranks 11 to 20 lose against the
    nearest five; `linear` the accuracy of a linear classifier, each half of the samples predicted
    from the other.
    """

    samples: int
    classes: int
    agreement: float
    uneven: float
    chance: float
    fading: float
    linear: float
    location: Location | None = None  # the last operation on the labels


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """Do samples that look alike carry the same label?

    What it measures
    ----------------
    For up to 1,500 training samples the labels of the 20 nearest ones (Euclidean, on standardised
    inputs). Where classes merely overlap, some regions are pure and others mixed; where labels are
    wrong at random, every region is wrong alike.

    Why it matters
    --------------
    Half of the labels wrong leave a floor that no model can go below, and a network with enough
    weights memorises them.

    How it decides
    --------------
    warn: the neighbours' majority clearly beats chance (by 0.2), disagrees with at least a quarter
    of the labels, and its share of the votes varies between samples no more than 1.5 times as much
    as drawing the wrong labels at random everywhere would make it vary. Neighbours that are merely
    far away, as all are in 16 dimensions or more, say nothing: where the nearest five agree clearly
    more than the next (a quarter of what lies above chance), or a linear classifier beats the
    neighbours by 0.05, the labels are no noise.

    Cost
    ----
    No pass of the model; a matrix of distances of at most 1,500 x 1,500, two linear regressions.

    Known limits
    ------------
    Where pixel distance says nothing about the class (photographs), the check cannot tell and
    passes. Classification with one label a sample only.

    Example
    -------
    A join on the wrong key that leaves every second label random.

    Fix
    ---
    Look at samples whose label differs from their neighbours', and at how labels are joined.

    Sources
    -------
    Humbatova et al. 2020 (wrong labels for training data); Cover & Hart 1967 (nearest neighbours);
    Northcutt et al. 2021 (label errors).
    """

    meta: ClassVar[Meta] = Meta(
        id="label-noise",
        stage="data",
        severity="warning",
        title="Like samples have like labels",
        fail_title="Labels look random in part",
        cost="0",
        after=("label-range",),
        preset="quick",
    )
    above_chance: float = 0.2  # of the majority's agreement, before it says anything
    wrong: float = 0.25  # share of labels that disagree
    even: float = 1.5  # times the variance of random labels: overlapping classes measure 3 and more
    fading: float = 0.25  # random labels measure 0.0 to 0.2, sparse samples in 20 dimensions 0.3
    beaten: float = 0.05  # by a linear classifier: the labels can be told, if not by neighbours

    def measure(self, lab: Lab) -> Neighbours:
        from ._neighbours import see_neighbours

        return see_neighbours(lab)

    def judge(self, seen: Neighbours) -> Verdict:
        wrong = 1 - seen.agreement
        telling = seen.agreement >= seen.chance + self.above_chance
        near = seen.fading < self.fading and seen.linear < seen.agreement + self.beaten
        bad = telling and near and wrong >= self.wrong and seen.uneven < self.even
        return Verdict(
            status=Status.WARN if bad else Status.PASS,
            message=f"{wrong:.0%} of the labels differ from those of the most similar samples, "
            "evenly over the data: labels look random in part"
            if bad
            else f"labels agree with those of similar samples in {seen.agreement:.0%}",
            measured=f"{wrong:.0%} differ from their neighbours",
            expected=f"below {self.wrong:.0%}, or in mixed regions only",
            causes=(
                Cause(
                    title="wrong labels at random (label noise)",
                    state=CauseState.MATCHES,
                    evidence=f"the majority's share varies {seen.uneven:.2g} times as much as "
                    "random labels make it vary; overlapping classes give 3 and more",
                ),
            )
            if bad
            else (),
            fix=Fix(text="look at how labels are joined to samples") if bad else None,
            location=seen.location if bad else None,
            values={"agreement": seen.agreement, "uneven": seen.uneven},
        )
