"""Do the weights start different from each other?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Starts:
    """Names of weights whose rows are all equal, groups of equal tensors, and where to look."""

    weights: int
    symmetric: tuple[str, ...]
    first_is_symmetric: bool
    all_symmetric: bool
    copies: tuple[tuple[str, ...], ...]
    location: Location | None


@dataclass(frozen=True, kw_only=True)
class WeightInit:
    """Do the weights start different from each other?

    What it measures
    ----------------
    The initial weights are compared: rows within each weight, and whole tensors of the same shape
    with each other.

    Why it matters
    --------------
    Units that start alike get the same gradient and stay alike for ever: the layer is one unit
    wide. All zero, nothing moves.

    How it decides
    --------------
    fail: a hidden weight (not the last, at least two rows) whose rows are all equal. warn:
    tensors of the same shape that are equal (deep copies). Zero-initialised heads, branches and
    low-rank adapters, where only some tensors are zero, pass.

    Cost
    ----
    None: no pass of the model.

    Known limits
    ------------
    Weights that are tied are one tensor and are not compared.

    Example
    -------
    `nn.init.constant_(layer.weight, 0.01)`, or `copy.deepcopy(layer)` n times.

    Fix
    ---
    Use the default initialisation, or make each layer anew.

    Sources
    -------
    Goodfellow, Bengio and Courville, Deep Learning (2016), 8.4 (breaking symmetry);
    pytorch/pytorch issue 86274.
    """

    meta: ClassVar[Meta] = Meta(
        id="weight-init",
        stage="model",
        title="Weights start different",
        fail_title="Weights start identical",
        cost="0",
        preset="quick",
    )

    def measure(self, lab: Lab) -> Starts:
        from ._starts import see_starts

        return see_starts(lab)

    def judge(self, seen: Starts) -> Verdict:
        if seen.symmetric and (seen.first_is_symmetric or seen.all_symmetric):
            names = ", ".join(seen.symmetric[:4])
            return Verdict(
                status=Status.FAIL,
                message=f"all rows of {names} start equal: their units get equal gradients and "
                "never become different",
                measured=f"{len(seen.symmetric)} of {seen.weights} weights symmetric",
                expected="0",
                location=seen.location,
                fix=Fix(text="use the default (random) initialisation"),
            )
        if seen.copies:
            names = "; ".join(" = ".join(group[:4]) for group in seen.copies[:3])
            return Verdict(
                status=Status.WARN,
                message=f"layers start as exact copies of each other: {names}",
                measured=f"{len(seen.copies)} groups of copies",
                expected="0",
                location=seen.location,
                fix=Fix(text="make each layer anew instead of deep-copying one"),
            )
        return Verdict(
            status=Status.PASS,
            message="weights start different from each other",
            measured="no two alike",
            expected="no two alike",
        )
