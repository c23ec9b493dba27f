"""Do all ranks step with the same gradients?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Table, Verdict

from ._rank_findings import Finding, around_it, gradients_of, unused_in, without_gradient

if TYPE_CHECKING:
    from recipe_check import Lab

SHOWN = 12  # rows of the table


@dataclass(frozen=True)
class Gradient:
    """Of one parameter on one rank: its norm and its product with a fixed vector of numbers
    between -1 and 1; None where it has none."""

    name: str
    norm: float | None
    product: float = 0.0


@dataclass(frozen=True)
class RankStep:
    """One backward pass on one rank. `through` says whether the wrapper itself was called,
    `unfinished` what torch raised when the next pass began."""

    samples: int
    gradients: tuple[Gradient, ...]
    through: bool = True
    unfinished: str = ""


@dataclass(frozen=True)
class Steps:
    """A step of each rank by itself, and one joined by the wrapper (empty without one, or where it
    would not return); how they are joined, and lines of the source that get around it."""

    wiring: str
    local: tuple[RankStep, ...]
    joined: tuple[RankStep, ...]
    unused_allowed: bool  # find_unused_parameters or static_graph
    searches: bool = False  # find_unused_parameters
    location: Location | None = None  # of the wrapper, else of a backward pass of the loop
    bypass: Location | None = None  # a training loop that calls `model.module(…)`
    unsynced: Location | None = None  # the only backward passes stand in `no_sync()`


@dataclass(frozen=True, kw_only=True)
class RankGradients:
    """Do all ranks step with the same gradients?

    What it measures
    ----------------
    Under torchrun each rank takes one step on a batch of its own, first by itself, then with the
    model in DistributedDataParallel with the options of the target. Rank 0 compares the gradient of
    every parameter over the ranks, and where a parameter has none, whether the wrapper expects it.

    Why it matters
    --------------
    Ranks whose gradients differ train different models, each on its share of the data, and only
    that of rank 0 is saved. A parameter without a gradient on one rank lets all others wait.

    How it decides
    --------------
    fail: gradients differ where a loop in the file trains a model that nothing joins; the training
    loop or step calls `model.module(…)`, or only ever runs backward in `no_sync()`; a parameter
    gets no gradient on some rank, without find_unused_parameters; gradients differ after the
    wrapper has averaged them. warn: nothing joins the ranks, and no loop is to be read or the
    gradients agree for now.

    Cost
    ----
    3 forward and 2 backward passes on each rank; 1 and 1 without a wrapper.

    Known limits
    ------------
    The wrapper is made anew around a copy: communication hooks and process groups of the target's
    own are not seen. Gradients that the source averages by hand (`all_reduce`) and those of a
    library's trainer are skipped; SyncBatchNorm needs a GPU.

    Example
    -------
    `model = Net()` and a loop under torchrun, with DistributedDataParallel forgotten.

    Fix
    ---
    `model = DistributedDataParallel(model)`, and call `model(x)`, not `model.module(x)`.

    Sources
    -------
    Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training (3.2.3,
    parameters that take no part); PyTorch documentation of DistributedDataParallel.
    """

    meta: ClassVar[Meta] = Meta(
        id="rank-gradients",
        stage="training",
        title="All ranks step alike",
        fail_title="The ranks step with different gradients",
        cost="3F 2B",
        needs=frozenset({"ranks", "loss"}),
        after=("rank-parameters",),
        group="ranks",
        preset="quick",
    )
    tolerance: float = 1e-4  # of the norm: an average is the same bits everywhere, but for order

    def measure(self, lab: Lab) -> Steps:
        from ._rank_steps import see_steps

        return see_steps(lab)

    def judge(self, seen: Steps) -> Verdict:
        compared = seen.joined or seen.local
        differing = [g for g in _by_name(compared) if differs(g, self.tolerance)]
        names = [first.name for first, *_ in differing]
        finding = self._finding(seen, names)
        samples = " + ".join(str(step.samples) for step in seen.local)
        return Verdict(
            status=finding.status,
            message=finding.message,
            measured=f"{len(differing)} of {len(compared[0].gradients)} gradients differ",
            expected="none",
            causes=(Cause(title=finding.cause, state=CauseState.MATCHES),) if finding.cause else (),
            fix=Fix(text=finding.fix) if finding.fix else None,
            location=finding.location,
            values={
                "differing": len(differing),
                "samples": sum(step.samples for step in seen.local),
            },
            details=(_table(differing or _by_name(compared), len(compared), samples),),
        )

    def _finding(self, seen: Steps, names: list[str]) -> Finding:
        if seen.wiring in ("nothing", "unknown"):
            return _unjoined(seen, names)
        found = around_it(seen) or unused_in(seen)
        if found is not None:
            return found
        if names:
            return _apart(seen, names)
        text = f"{len(seen.joined[0].gradients)} gradients are the same on {len(seen.joined)} ranks"
        if seen.searches and not without_gradient(seen.local):
            text += "; find_unused_parameters=True searches for nothing"
        return Finding(Status.PASS, text, "")


def differs(gradients: Sequence[Gradient], tolerance: float) -> bool:
    """Whether one parameter's gradient is not the same on all ranks."""
    norms = [g.norm for g in gradients if g.norm is not None]
    if len(norms) != len(gradients):
        return bool(norms)
    if not all(math.isfinite(norm) for norm in norms):
        return False  # that is for other checks to say
    products = [g.product for g in gradients]
    spread = max(max(norms) - min(norms), max(products) - min(products))
    return spread > tolerance * max(norms)


def _by_name(steps: Sequence[RankStep]) -> list[tuple[Gradient, ...]]:
    return list(zip(*(step.gradients for step in steps), strict=True))


def _unjoined(seen: Steps, names: list[str]) -> Finding:
    fix = "model = torch.nn.parallel.DistributedDataParallel(model), after it is on its device"
    trains = seen.wiring == "nothing"
    how = "the model is not wrapped in DistributedDataParallel"
    if not names:
        text = f"{how}; gradients agree only because all ranks see the same samples and weights"
        return Finding(Status.WARN, text, fix, how, seen.location)
    text = f"{gradients_of(names)} between the ranks: {how}" + (
        "" if trains else " in this file, which holds no training loop to read"
    )
    return Finding(Status.FAIL if trains else Status.WARN, text, fix, how, seen.location)


def _apart(seen: Steps, names: list[str]) -> Finding:
    text = f"{gradients_of(names)} between the ranks after averaging"
    if all(name.startswith("loss.") for name in names):
        return Finding(
            Status.FAIL,
            f"{text}: the loss function has parameters of its own, which nothing wraps",
            "put the loss function inside the model that is wrapped, or wrap it too",
            "parameters of the loss function are outside the wrapper",
            seen.location,
        )
    return Finding(Status.FAIL, text, "let all weights be parameters of the wrapped model", "",
                    seen.location)  # fmt: skip


def _table(gradients: Sequence[tuple[Gradient, ...]], ranks: int, samples: str) -> Table:
    return Table(
        title="Norms of the gradients",
        columns=("parameter", *(f"rank {rank}" for rank in range(ranks))),
        rows=tuple((g[0].name, *(one.norm for one in g)) for g in gradients[:SHOWN]),
        caption=f"{samples} samples in one step",
    )
