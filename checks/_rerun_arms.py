"""`input-independent-baseline` for a script that can only be observed: its own loop runs on its
data, and once more with zeros wherever data enter a model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipe_check import Fix, Line, NotApplicable, Series, Status, Verdict
from recipe_check.probes.rerun_process import run_again

from ._reruns import LONG, RATE, fall, losses, own_run

if TYPE_CHECKING:
    from recipe_check import Lab

LEARNED = 0.1  # of the first loss: what falls by less than that says nothing
GAIN = 0.05  # as in the check itself
T, T_ALONE = 3.0, 6.0  # likewise
PATIENCE = 25.0  # seconds for two runs, after which two more do not fit into --check-timeout
SAME = 1e-6  # of the loss: float32's resolution, some operations deep


@dataclass(frozen=True)
class TwoRuns:
    """The loss of each step on real and on zeroed inputs, on the same batches in the same order."""

    real: tuple[float, ...]
    zeros: tuple[float, ...]
    with_adam: bool

    @property
    def tail(self) -> list[tuple[float, float]]:
        """Both losses at each step of the second half."""
        pairs = list(zip(self.real, self.zeros, strict=False))
        return pairs[len(pairs) // 2 :]


def see_two_runs(lab: Lab) -> TwoRuns:
    """Cost: two runs of the script of 100 steps each; two more of 200 where its own optimizers
    hardly lower the loss, so that Adam takes their place. Raises NotApplicable where
    that does not, either."""
    start = time.monotonic()
    own = losses(own_run(lab))
    blank = run_again(lab, hold="inputs")
    if not blank.changed:
        raise NotApplicable("no data that could be zeroed enter a model of the script")
    found = TwoRuns(own, losses(blank), with_adam=False)
    if fall(own) >= LEARNED or _is_same(found):
        return found
    slow = time.monotonic() - start > PATIENCE
    real = own if slow else losses(run_again(lab, rate=RATE, steps=LONG))
    if fall(real) < LEARNED:
        raise NotApplicable(
            f"the loss has not fallen by a tenth in {len(real)} steps: nothing to compare"
        )
    return TwoRuns(
        real, losses(run_again(lab, hold="inputs", rate=RATE, steps=LONG)), with_adam=True
    )


def _is_same(seen: TwoRuns) -> bool:
    """Whether every step has the same loss, with inputs and without."""
    pairs = list(zip(seen.real, seen.zeros, strict=False))
    return all(abs(r - z) <= SAME * max(abs(r), abs(z)) for r, z in pairs)


def judge_two_runs(seen: TwoRuns) -> Verdict:
    """Pure, as the check's own `judge`."""
    status, message = _decide(seen)
    bad = status is not Status.PASS
    fix = "follow the input through forward(): its values never reach the loss"
    return Verdict(
        status=status,
        message=message,
        measured=f"{_mean([r for r, _ in seen.tail]):.3g} real, "
        f"{_mean([z for _, z in seen.tail]):.3g} zeros",
        expected="real lowest",
        fix=Fix(text=fix) if bad else None,
        values={"gain": _gain(seen)[0], "t": _gain(seen)[1]},
        details=(_plot(seen),),
    )


def _decide(seen: TwoRuns) -> tuple[Status, str]:
    share, t = _gain(seen)
    real, zeros = (_mean(values) for values in zip(*seen.tail, strict=True))
    if _is_same(seen):
        return Status.FAIL, (
            f"with all inputs zeroed the script's loss is the same at each of {len(seen.real)} "
            "steps: the inputs do not reach it"
        )
    if (share >= GAIN and t > T) or t > T_ALONE:
        return Status.PASS, f"the script's loss is {real:.3g} with real inputs, {zeros:.3g} with " \
            "zeros, at the end of its first steps"  # fmt: skip
    return Status.WARN, (
        f"undecided after {len(seen.real)} steps of the script: {real:.3g} with real inputs, "
        f"{zeros:.3g} with zeros"
    )


def _gain(seen: TwoRuns) -> tuple[float, float]:
    """Advantage of real inputs over zeros in units of the latter's loss, and its paired t."""
    differences = [zeros - real for real, zeros in seen.tail]
    size = abs(_mean([zeros for _, zeros in seen.tail])) or 1.0
    mean = _mean(differences)
    variance = sum((d - mean) ** 2 for d in differences) / max(len(differences) - 1, 1)
    error = math.sqrt(variance / len(differences))
    return mean / size, mean / error if error else math.copysign(math.inf, mean) if mean else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _plot(seen: TwoRuns) -> Series:
    return Series(
        title="Loss of the script's first steps",
        x_label="step",
        y_label="loss",
        lines=tuple(
            Line(name=name, x=tuple(float(i) for i in range(len(curve))), y=curve)
            for name, curve in (("real inputs", seen.real), ("zeros", seen.zeros))
        ),
        caption="The script's own loop, with Adam in the place of its optimizers"
        if seen.with_adam
        else "The script's own loop; real inputs must end lower",
    )
