"""Do all terms of the loss have a say?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Bars, Cause, CauseState, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Term:
    """One term: its value, its weight in the sum, and the norm of its share of the gradient."""

    name: str
    value: float
    weight: float
    gradient: float
    location: Location | None


@dataclass(frozen=True)
class Terms:
    """The terms that carry a gradient, in the order of their calls."""

    terms: tuple[Term, ...]

    @property
    def ratio(self) -> float:
        norms = [t.gradient for t in self.terms if t.gradient > 0]
        return max(norms) / min(norms) if norms else 1.0


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """Do all terms of the loss have a say?

    What it measures
    ----------------
    For a loss that sums several of torch's loss functions, the norm of each term's share of the
    gradient, weights included, on one batch.

    Why it matters
    --------------
    A term with a hundredth of the gradient of another is not trained on, whatever its value.

    How it decides
    --------------
    warn: the largest share is at least 100 times the smallest.

    Cost
    ----
    1 forward pass and a backward pass for each of at most six terms, and one more.

    Known limits
    ------------
    Terms whose target the model makes itself (a teacher, a code book) are left out: they start at
    any size. Terms that are written by hand (a KL divergence of a VAE) are not seen. A term that
    is zero on this batch (a satisfied margin) is left out, and so is a distance from zero (an L1
    penalty).

    Example
    -------
    `cross_entropy(...) + mse_loss(boxes, targets)` with boxes in pixels.

    Fix
    ---
    Weight the terms so that their gradients have about equal norms, or scale their targets.

    Sources
    -------
    Chen et al. 2018, GradNorm; Kendall et al. 2018, multi-task weighting.
    """

    meta: ClassVar[Meta] = Meta(
        id="loss-terms",
        stage="model",
        severity="warning",
        title="Every term of the loss counts",
        fail_title="One term of the loss dwarfs the rest",
        cost="1 F, 2 to 7 B",
        after=("loss-contract",),
        preset="quick",
    )
    ratio: float = 100.0  # of gradient norms (CHECKS); multi-task models of the corpus measure 1-20

    def measure(self, lab: Lab) -> Terms:
        from ._terms import see_terms

        return see_terms(lab)

    def judge(self, seen: Terms) -> Verdict:
        bad = seen.ratio >= self.ratio
        ranked = sorted(seen.terms, key=lambda t: t.gradient)
        small, large = ranked[0], ranked[-1]
        text = f"{len(seen.terms)} terms, gradients within a factor of {seen.ratio:.3g}"
        if bad:
            text = (
                f"{large.name} has {seen.ratio:.3g} times the gradient of {small.name}: the "
                "smaller term is not trained on"
            )
        return Verdict(
            status=Status.WARN if bad else Status.PASS,
            message=text,
            measured=f"ratio {seen.ratio:.3g}",
            expected=f"below {self.ratio:g}",
            causes=(
                Cause(
                    title="terms of the loss differ in scale",
                    state=CauseState.MATCHES,
                    evidence=", ".join(f"{t.name} {t.gradient:.2g}" for t in ranked),
                ),
            )
            if bad
            else (),
            fix=Fix(text=f"weight {small.name} up, {large.name} down, or scale its targets")
            if bad
            else None,
            location=small.location if bad else None,
            values={"ratio": seen.ratio},
            details=(
                Bars(
                    title="Share of the gradient of each term",
                    value_label="norm of the gradient",
                    names=tuple(t.name for t in seen.terms),
                    values=tuple(t.gradient for t in seen.terms),
                    log_y=True,
                ),
            ),
        )
