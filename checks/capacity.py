"""Does the loss fall further when the model grows?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Line, Meta, Series, Status, Verdict, thin

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Growth:
    """Training losses of the model and of one twice as wide, over the seeds: lists of curves."""

    argument: str
    width: int
    base: tuple[tuple[float, ...], ...]
    wide: tuple[tuple[float, ...], ...]

    @staticmethod
    def _ends(curves: tuple[tuple[float, ...], ...]) -> tuple[float, ...]:
        return tuple(sum(c[-10:]) / len(c[-10:]) for c in curves)

    @property
    def ends(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Final levels of the model and of the wider one, one a seed."""
        return self._ends(self.base), self._ends(self.wide)

    @property
    def start(self) -> float:
        return sum(c[0] for c in self.base) / len(self.base)


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Does the loss fall further when the model grows?

    What it measures
    ----------------
    The model's class is built again at twice its width (an integer argument with a default, called
    width, hidden_size, dim, channels or the like), and both sizes take 100 steps of Adam on the
    training batches, from three seeds.

    Why it matters
    --------------
    A larger model must fit the training data at least as well. Where it does not, something else
    than capacity holds it back: a bottleneck beside the width, saturation, the loss itself.

    How it decides
    --------------
    warn: with all three seeds the wider model ends more than 5 % above the narrower one, and the
    narrower one has not fitted the data already (20 % of its first loss).

    Cost
    ----
    600 training steps (preset thorough).

    Known limits
    ------------
    Only classes whose arguments all have defaults, and whose default is the size that is checked.

    Example
    -------
    A hidden layer of one unit beside the widened ones.

    Fix
    ---
    Look for the part of the model that does not grow with the width.

    Sources
    -------
    Karpathy, A Recipe for Training Neural Networks (2019), "verify decreasing training loss".
    """

    meta: ClassVar[Meta] = Meta(
        id="capacity",
        stage="training",
        severity="warning",
        title="A larger model fits better",
        fail_title="A larger model fits no better",
        cost="600 S",
        preset="thorough",
    )
    steps: int = 100  # for each size and seed
    worse: float = 1.05  # of the narrower model's final loss
    fitted: float = 0.2  # of the first loss

    def measure(self, lab: Lab) -> Growth:
        from ._growth import see_growth

        return see_growth(lab, self.steps)

    def judge(self, seen: Growth) -> Verdict:
        base, wide = seen.ends
        middle = sum(base) / len(base)
        worse = all(w > self.worse * b for b, w in zip(base, wide, strict=True))
        bad = worse and middle > self.fitted * seen.start
        sizes = f"{seen.argument}={seen.width} and {2 * seen.width}"
        grown = sum(wide) / len(wide)
        return Verdict(
            status=Status.WARN if bad else Status.PASS,
            message=f"{sizes}: the loss ends at {middle:.3g} and {grown:.3g}"
            + (": growing does not help" if bad else ""),
            measured=f"{grown / max(middle, 1e-12):.2f} of the loss at twice the width",
            expected=f"at most {self.worse:g}",
            causes=(
                Cause(
                    title="something else than capacity holds the model back",
                    state=CauseState.MATCHES,
                    evidence="with each of the seeds",
                ),
            )
            if bad
            else (),
            fix=Fix(text="look for the part that does not grow with the width") if bad else None,
            values={"base": middle, "wide": grown},
            details=(_plot(seen),),
        )


def _plot(seen: Growth) -> Series:
    named = ((f"{seen.argument}={seen.width}", seen.base[0]),
             (f"{seen.argument}={2 * seen.width}", seen.wide[0]))  # fmt: skip
    return Series(
        title="Training loss at two widths",
        x_label="step",
        y_label="loss",
        lines=tuple(
            Line(name=n, x=thin([float(i) for i in range(len(y))]), y=thin(y)) for n, y in named
        ),
        caption="The first of three seeds",
    )
