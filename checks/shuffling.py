"""Are the classes mixed within batches?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Mixing:
    """Mean label entropy within batches and that of random batches of their sizes, in nats."""

    batches: int
    within: float
    random: float
    location: Location | None = None  # the line that made the loader


@dataclass(frozen=True, kw_only=True)
class Shuffling:
    """Are the classes mixed within batches?

    What it measures
    ----------------
    Over the class labels of the whole loader, the mean entropy of the labels within a batch is
    compared with the entropy of all labels, and the loader is read a second time to see whether
    the order changes.

    Why it matters
    --------------
    Data sorted by class shows the network one class at a time: the loss saws up and down and
    forgets.

    How it decides
    --------------
    fail: the entropy within batches is below a quarter of what random batches of that size would
    have, over at least four batches and two classes. warn: the order is the same in two readings,
    and the labels are in runs.

    Cost
    ----
    No pass of the model; up to two passes over the data.

    Known limits
    ------------
    Only class labels are looked at. Samplers that balance or bucket by length pass.

    Example
    -------
    `DataLoader(sorted_dataset, shuffle=False)`.

    Fix
    ---
    Set shuffle=True on the training loader.

    Sources
    -------
    Bottou 2012, Stochastic Gradient Descent Tricks (shuffle the examples); ultralytics/yolov5
    issue 5622.
    """

    meta: ClassVar[Meta] = Meta(
        id="shuffling",
        stage="data",
        title="Batches are mixed",
        fail_title="Batches are sorted by class",
        cost="0",
        after=("label-range",),
        preset="quick",
    )
    share: float = 0.25  # of the entropy of random batches
    least: int = 4  # batches

    def measure(self, lab: Lab) -> Mixing:
        from ._data import see_mixing

        return see_mixing(lab)

    def judge(self, seen: Mixing) -> Verdict:
        ratio = seen.within / seen.random if seen.random > 0 else 1.0
        sorted_ = seen.batches >= self.least and seen.random > 0 and ratio < self.share
        return Verdict(
            status=Status.FAIL if sorted_ else Status.PASS,
            message=f"batches hold {ratio:.0%} of the class entropy of random ones: the data are "
            "sorted by class"
            if sorted_
            else f"batches hold {ratio:.0%} of the class entropy of random ones",
            measured=f"{seen.within:.2f} nats within batches",
            expected=f"{seen.random:.2f} for random ones",
            fix=Fix(text="set shuffle=True on the training loader") if sorted_ else None,
            location=seen.location if sorted_ else None,
            values={"ratio": ratio},
        )
