"""Does the loss get what it documents?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Table, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Breach:
    """One way in which the loss does not get what it documents."""

    title: str
    evidence: str
    fix: str
    location: Location | None
    certain: bool  # a defect for sure, or only unusual


@dataclass(frozen=True)
class Contract:
    """The recorded loss terms as (kind, prediction, target) texts, and what is wrong."""

    terms: tuple[tuple[str, str, str], ...]
    breaches: tuple[Breach, ...]
    notes: tuple[str, ...]
    tested: tuple[str, ...]  # titles of all breaches that were looked for


@dataclass(frozen=True, kw_only=True)
class LossContract:
    """Compares what enters each loss function with what that function documents.

    What it measures
    ----------------
    Every call of a torch loss function in one training step is recorded. From its prediction the
    autograd graph is followed back through mere views to the operation that made it, and shapes,
    ranges and targets are compared with the documentation of that loss.

    Why it matters
    --------------
    A loss takes nearly anything without an error: softmax before cross-entropy trains, slowly, to
    a floor it cannot leave; (B, 1) against (B,) compares every prediction with every target.

    How it decides
    --------------
    fail: softmax, sigmoid, ReLU or a clamp to a few units made the prediction of cross_entropy,
    nll_loss or binary_cross_entropy_with_logits, or the loss normalises once more what the model
    squashed; probabilities or raw scores in nll_loss; prediction and target are broadcast; one
    output for several classes; softmax over a single output, over the batch axis or another than
    that of the classes; kl_div on probabilities; a bounded loss below zero, or with its sign
    flipped; a loss that falls with the square of an output; a last activation that cannot give a
    quarter of the targets' variance; softmax before binary_cross_entropy where samples have
    several labels; labels of 0 and 1 in a loss that wants -1 and 1, and others outside what it
    documents (kl_div, poisson_nll_loss, ctc_loss and its blank, binary cross-entropy); classes on
    another axis than the loss reads.

    Losses written by hand, and training steps, are tried out. Their derivative is taken at the
    model's own output and at three random ones: if it rises on the way to the target for 95 % of
    the samples at each of them the sign is flipped (fail for losses without a lowest value, else
    warn). The loss of a batch is compared with that of the batch joined with itself: equal for a
    mean, double for a sum, half where it was divided twice, both where one part is summed and
    another averaged (warn). fail: it is 50 times its first value for scores that are one number
    within 3 (a denominator reaches zero); it falls below any value for predictions of 1000 and of
    -1000; it pulls only where all targets are one number. warn: one label is never pulled; as much
    padding again halves it; untrained distances and triplets contradict it (t of 6).

    warn: kl_div with reduction='mean'; class weights that grow with the class's frequency;
    dropout, or a normalisation without weights, right before the loss; a constant that flattens
    the scores; ignore_index that is a
    class; padding that is scored; label smoothing above 0.5; a loss scaled by 1000 or more, or
    its inverse; a loss written by hand that takes the logarithm of zero or overflows, and is not
    finite, for confident predictions (scores stretched to 200: sigmoid and softmax reach 0 and 1
    there in float32).

    Cost
    ----
    4 forward passes; for a loss written by hand 6 more, and 9 to 170 evaluations of it with 6 to
    11 backward passes from it to the output. In a training step, where each takes the model along,
    26 evaluations at most.

    Known limits
    ------------
    A loss inside the model, and a training step that calls the model more than once, are only
    compared with their double. Distances whose small value means a match, and targets in several
    parts, pair up with no output, so that their sign is not judged.

    Example
    -------
    `return F.softmax(self.fc(x), dim=1)` with `nn.CrossEntropyLoss()`.

    Fix
    ---
    Return raw scores (logits); give both sides the same shape.

    Sources
    -------
    Documentation of torch.nn.functional; Karpathy, common mistakes (2018), item 4: softmaxed
    outputs to a loss that expects raw logits.
    """

    meta: ClassVar[Meta] = Meta(
        id="loss-contract",
        stage="skeleton",
        title="The loss gets what it documents",
        fail_title="The loss does not get what it documents",
        cost="4 to 40 F, 1 to 11 B",
        after=("initial-loss",),
    )

    def measure(self, lab: Lab) -> Contract:
        from ._loss_calls import see_contract

        return see_contract(lab)

    def judge(self, seen: Contract) -> Verdict:
        first = next(iter(sorted(seen.breaches, key=lambda b: not b.certain)), None)
        status = Status.PASS
        if first is not None:
            status = Status.FAIL if first.certain else Status.WARN
        kinds = ", ".join(dict.fromkeys(kind for kind, _, _ in seen.terms))
        fine = "as documented" if kinds else "tried out, nothing found"
        note = f" ({'; '.join(seen.notes)})" if seen.notes else ""
        return Verdict(
            status=status,
            message=f"{first.title}: {first.evidence}"
            if first
            else f"{kinds or 'a loss written by hand'}: {fine}{note}",
            measured=first.evidence if first else kinds or "written by hand",
            expected="what the loss documents",
            causes=_causes(seen) if first else (),
            fix=Fix(text=first.fix) if first else None,
            location=first.location if first else None,
            details=(
                Table(
                    title="Loss functions of one training step",
                    columns=("loss", "prediction", "target"),
                    rows=seen.terms,
                ),
            ),
        )


def _causes(seen: Contract) -> tuple[Cause, ...]:
    found = {breach.title: breach.evidence for breach in seen.breaches}
    titles = dict.fromkeys((*found, *seen.tested))
    return tuple(
        Cause(
            title=title,
            state=CauseState.MATCHES if title in found else CauseState.RULED_OUT,
            evidence=found.get(title, ""),
        )
        for title in titles
    )
