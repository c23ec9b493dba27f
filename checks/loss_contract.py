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
    fail: softmax, sigmoid or ReLU made the prediction of cross_entropy, nll_loss or
    binary_cross_entropy_with_logits; probabilities or raw scores in nll_loss; prediction and
    target of an elementwise loss are broadcast; one output for several classes; softmax over a
    single output or over the batch axis; kl_div on probabilities; a bounded loss below zero, or
    with its sign flipped. warn: kl_div with reduction='mean'; class weights that grow with the
    class's frequency; a loss written by hand that takes the logarithm of zero, and is not finite,
    for confident predictions (scores stretched to 200: sigmoid and softmax reach 0 and 1 there in
    float32). log_softmax before cross_entropy is idempotent: a note.

    Cost
    ----
    One forward pass.

    Known limits
    ------------
    Losses that are written by hand are not looked into.

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
        cost="1 F",
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
        note = f" ({'; '.join(seen.notes)})" if seen.notes else ""
        return Verdict(
            status=status,
            message=f"{first.title}: {first.evidence}"
            if first
            else f"{kinds}: as documented{note}",
            measured=first.evidence if first else kinds,
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
