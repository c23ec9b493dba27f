"""Do all ranks start from the same weights?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Table, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab

SHOWN = 12  # rows of the table


@dataclass(frozen=True)
class Difference:
    """One parameter or buffer that is not the same everywhere; `values` are its mean size on each
    rank, None where a rank has none of that name and shape."""

    name: str
    is_buffer: bool
    values: tuple[float | None, ...]
    location: Location | None = None


@dataclass(frozen=True)
class Starts:
    """What the ranks hold: the number of tensors, those that differ, what they train differently,
    how the ranks are joined, and lines that may explain it."""

    ranks: int
    tensors: int
    differing: tuple[Difference, ...]
    frozen: tuple[str, ...]  # parameters that some ranks train and others do not
    wiring: str
    from_factory: bool  # made by a call of ours: what seeds it in training is not known
    seed_line: Location | None = None  # a seed that depends on the rank
    seeds: bool = False  # the source seeds torch at all
    load_line: Location | None = None  # weights that only some ranks load
    freeze_line: Location | None = None  # of a parameter that is frozen on this rank alone


@dataclass(frozen=True, kw_only=True)
class RankParameters:
    """Do all ranks start from the same weights?

    What it measures
    ----------------
    Under torchrun each rank loads the target, all in one process group, and hashes every parameter
    and buffer of its model. Rank 0 compares names, shapes, values, and which are trained.

    Why it matters
    --------------
    Ranks average gradients, never weights: what differs at the start differs for ever, and the
    average of gradients at different points leads nowhere in particular.

    How it decides
    --------------
    fail: a parameter has another value, shape or requires_grad on another rank, or is missing
    there, although DistributedDataParallel has copied those of rank 0, or where a loop in the
    file trains it and nothing copies them. warn: likewise where no training loop is to be read, or
    only buffers differ. Weights that differ before the source wraps the model pass: wrapping copies
    those of rank 0.

    Cost
    ----
    No pass; every tensor is hashed once on each rank.

    Known limits
    ------------
    Only the state after loading is seen. What is not seeded differs between ranks, as it does in
    training: the seeds of this tool are apart. Sharded models (FSDP, tensor parallelism) and those
    of a library's trainer are skipped.

    Example
    -------
    `torch.manual_seed(42 + rank)` before a model that is not wrapped; a checkpoint that only rank 0
    loads after wrapping.

    Fix
    ---
    Wrap the model in DistributedDataParallel after its weights are final, or seed alike before it
    is made and by rank after.

    Sources
    -------
    Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training; PyTorch
    documentation of DistributedDataParallel (state of rank 0 is broadcast by the constructor).
    """

    meta: ClassVar[Meta] = Meta(
        id="rank-parameters",
        stage="model",
        title="All ranks start alike",
        fail_title="The ranks start from different weights",
        cost="0",
        needs=frozenset({"ranks"}),
        group="ranks",
        preset="quick",
    )

    def measure(self, lab: Lab) -> Starts:
        from ._rank_state import see_starts

        return see_starts(lab)

    def judge(self, seen: Starts) -> Verdict:
        weights = [d for d in seen.differing if not d.is_buffer]
        healed = seen.wiring == "later" and all(None not in d.values for d in seen.differing)
        found = (weights or list(seen.differing)) and not healed
        status = self._status(seen, weights) if found or seen.frozen else Status.PASS
        first = next(iter(weights or seen.differing), None)
        bad = status is not Status.PASS
        return Verdict(
            status=status,
            message=_message(seen, first, healed=healed),
            measured=f"{len(seen.differing)} of {seen.tensors} tensors differ",
            expected="none",
            causes=_causes(seen) if bad and first else (),
            fix=Fix(text=_fix(seen)) if bad else None,
            location=_place(seen, first) if bad else None,
            values={"differing": len(seen.differing)},
            details=(_table(seen),) if seen.differing else (),
        )

    def _status(self, seen: Starts, weights: list[Difference]) -> Status:
        """A buffer may be meant to differ, and where no loop is in sight, something else may copy
        the weights."""
        apart = any(None in d.values for d in weights)
        unseen = seen.wiring == "unknown" or (seen.from_factory and seen.wiring != "wrapped")
        if not (weights or seen.frozen) or (unseen and not apart):
            return Status.WARN
        return Status.FAIL


def _place(seen: Starts, first: Difference | None) -> Location | None:
    if first is None:
        return seen.freeze_line
    return seen.seed_line or seen.load_line or first.location


def _message(seen: Starts, first: Difference | None, *, healed: bool) -> str:
    if first is None and not seen.frozen:
        return f"{seen.tensors} parameters and buffers are the same on {seen.ranks} ranks"
    if healed and not seen.frozen:
        return (
            f"{len(seen.differing)} tensors differ between the ranks until the model is wrapped, "
            "which copies those of rank 0"
        )
    if first is None:
        return f"`{seen.frozen[0]}` is trained on some ranks and frozen on others"
    kind = "buffer" if first.is_buffer else "parameter"
    missing = [rank for rank, value in enumerate(first.values) if value is None]
    if missing:
        return f"{kind} `{first.name}` has another shape or is missing on rank {missing[0]}"
    others = f" and {len(seen.differing) - 1} more" if len(seen.differing) > 1 else ""
    return f"{kind} `{first.name}`{others} differ{'' if others else 's'} between the ranks"


def _causes(seen: Starts) -> tuple[Cause, ...]:
    """Read from the source, except for the wrapper, which is seen."""
    wrapped = seen.wiring == "wrapped"
    tested = [
        ("the seed depends on the rank", seen.seed_line is not None, str(seen.seed_line or "")),
        ("only some ranks load weights", seen.load_line is not None, str(seen.load_line or "")),
        ("weights are changed after wrapping, which copied those of rank 0", wrapped, ""),
        ("nothing seeds torch, and nothing copies the weights", not (seen.seeds or wrapped), ""),
    ]
    causes = [
        Cause(title=t, state=CauseState.MATCHES if is_so else CauseState.RULED_OUT, evidence=e)
        for t, is_so, e in tested
    ]
    return tuple(sorted(causes, key=lambda cause: cause.state is not CauseState.MATCHES))


def _fix(seen: Starts) -> str:
    if seen.wiring == "wrapped":
        return "finish the weights (loading, initialising) before the model is wrapped"
    if seen.seed_line is not None:
        return "seed alike on all ranks before the model is made, and by rank after"
    return "wrap the model in DistributedDataParallel: it copies the weights of rank 0"


def _table(seen: Starts) -> Table:
    return Table(
        title="Tensors that differ between the ranks",
        columns=("tensor", *(f"mean size on rank {rank}" for rank in range(seen.ranks))),
        rows=tuple((d.name, *d.values) for d in seen.differing[:SHOWN]),
        caption=f"the first {SHOWN} of {len(seen.differing)}"
        if len(seen.differing) > SHOWN
        else "",
    )
