"""Is there a non-linearity between the layers?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Deviation:
    """Relative deviation from an affine function, the number of layers, the last one's line."""

    relative: float
    layers: int
    location: Location | None


@dataclass(frozen=True, kw_only=True)
class Linearity:
    """Is there a non-linearity between the layers?

    What it measures
    ----------------
    On a float64 copy in evaluation mode, f(a) + f(b) - f(0) - f(a + b) is computed for two
    inputs; it is zero for every affine function.

    Why it matters
    --------------
    Linear layers without an activation between them are one linear layer: depth adds nothing.

    How it decides
    --------------
    fail: the relative deviation is below 1e-9 for a model with two or more layers of weights in a
    row. skip: fewer layers, or inputs that are no floats.

    Cost
    ----
    4 forward passes.

    Known limits
    ------------
    Deep linear networks that are studied on purpose fail here: suppress it.

    Example
    -------
    `nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 10))`.

    Fix
    ---
    Put an activation between the layers.

    Sources
    -------
    UMLAUT (Schoop et al. 2021), missing activation; TheDeepChecker (Ben Braiek and Khomh 2022).
    """

    meta: ClassVar[Meta] = Meta(
        id="linearity",
        stage="model",
        title="The model is not linear",
        fail_title="The model is linear",
        cost="4 F",
        preset="quick",
    )
    tolerance: float = 1e-9  # relative, float64: an affine model measures about 1e-16

    def measure(self, lab: Lab) -> Deviation:
        from ._linearity import see_deviation

        return see_deviation(lab)

    def judge(self, seen: Deviation) -> Verdict:
        linear = seen.relative < self.tolerance
        return Verdict(
            status=Status.FAIL if linear else Status.PASS,
            message=f"{seen.layers} layers in a row compute one linear function: no activation "
            "between them"
            if linear
            else "the model is not linear",
            measured=f"deviation {seen.relative:.1e}",
            expected=f"above {self.tolerance:g}",
            location=seen.location if linear else None,
            fix=Fix(text="put an activation (nn.ReLU()) between the layers") if linear else None,
            values={"deviation": seen.relative},
        )
