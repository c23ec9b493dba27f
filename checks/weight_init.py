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
    scale: str = ""  # weights far larger or smaller than He's, '' for none
    untied: tuple[tuple[str, ...], ...] = ()  # of the copies, those of an embedding and a layer


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
    fail: the first weight (of at least two rows), or every one but the last, has equal rows. warn:
    tensors of the same shape that are equal (deep copies, or an embedding and an output layer that
    were meant to share one tensor and got a copy); at least half of the layers, drawn by a line of
    the user's own, start above 3 times He's deviation with outputs beyond 5, or below a hundredth
    of it without a normalisation layer. Zero-initialised heads, branches and
    low-rank adapters, where only some tensors are zero, pass, also a first weight of zeros that
    the signal passes by (RWKV).

    Cost
    ----
    None, or one forward pass where the first weight is zero.

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
        cost="0 to 1 F",
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
        if seen.untied:
            names = " = ".join(seen.untied[0])
            return Verdict(
                status=Status.WARN,
                message=f"{names} start equal but are two tensors: a copy ties nothing, they go "
                "apart with the first step",
                measured=f"{len(seen.untied)} groups of copies",
                expected="one tensor, or different ones",
                location=seen.location,
                fix=Fix(text="share the parameter itself: head.weight = embedding.weight"),
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
        if seen.scale:
            return Verdict(
                status=Status.WARN,
                message=f"{seen.scale}: signals grow or shrink with every layer",
                measured=seen.scale,
                expected="0.01 to 3 times He's deviation",
                location=seen.location,
                fix=Fix(text="nn.init.kaiming_normal_(weight), or torch's default"),
            )
        return Verdict(
            status=Status.PASS,
            message="weights start different from each other",
            measured="no two alike",
            expected="no two alike",
        )
