"""Does every rank train on samples of its own, in a new order each epoch?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Table, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Share:
    """What one rank reads in an epoch. `batches` is None where its number is not known;
    `repeats` whether a second epoch has the same order, None where that was not looked at."""

    samples: int
    batch: int
    batches: int | None
    sampler: str  # its class, '' where there is none to read
    replicas: int | None = None  # for how many ranks a DistributedSampler deals the samples out
    rank: int | None = None  # and for which
    shuffles: bool = False
    repeats: bool | None = None


@dataclass(frozen=True)
class Sampling:
    """The shares of all ranks. `shared` of `most` samples are in the share of more than one rank,
    `alike` says that all read the same in the same order. `sets_epoch` is what the training loop
    does: yes, no, constant (always the same number), or unknown."""

    shares: tuple[Share, ...]
    shared: int
    most: int
    alike: bool
    wiring: str
    sets_epoch: str
    elsewhere: bool = False  # the source makes a DistributedSampler that this loader does not have
    joins: bool = False  # uneven shares are provided for (Join)
    location: Location | None = None  # of the loader
    epoch_line: Location | None = None  # of a set_epoch that is no help


@dataclass(frozen=True)
class _Finding:
    """What is wrong with the shares, in words."""

    status: Status
    message: str
    cause: str
    fix: str
    location: Location | None


@dataclass(frozen=True, kw_only=True)
class RankSampling:
    """Does every rank train on samples of its own, in a new order each epoch?

    What it measures
    ----------------
    Under torchrun each rank reads the order of its sampler for two epochs, with the random state
    in which the target left it and `set_epoch` called where the training loop does. Rank 0 compares
    the indices, unless a few samples show that an index means another sample on another rank (data
    split by hand). Where there is no sampler, the samples of the first batches are compared.

    Why it matters
    --------------
    Ranks that read the same samples compute the same gradient several times: the epoch takes as
    long as on one GPU. A DistributedSampler without set_epoch deals out the same batches for ever.

    How it decides
    --------------
    fail: all ranks read the same samples in the same order; a DistributedSampler deals out for
    another number of ranks; it shuffles, and the loop over epochs never calls set_epoch with the
    epoch; the ranks have different numbers of batches and the model is wrapped, which hangs at the
    end. warn: the same samples in another order on each rank; more samples shared than padding
    explains; the same order each epoch without shuffling; what would fail, where no loop is to be
    read or the sampler is made elsewhere in the source.

    Cost
    ----
    No pass of the model; two readings of the sampler and at most 16 samples, or 4 batches where
    there is no sampler.

    Known limits
    ------------
    Samplers are read up to 50,000 samples a rank. Whether set_epoch is called is read from the
    source. Trainers of libraries exchange samplers themselves and are skipped.

    Example
    -------
    `DataLoader(data, shuffle=True)` on every rank; `DistributedSampler(data)` without
    `sampler.set_epoch(epoch)`.

    Fix
    ---
    `sampler = DistributedSampler(data)`, `DataLoader(data, sampler=sampler)`, and at the start of
    each epoch `sampler.set_epoch(epoch)`.

    Sources
    -------
    PyTorch documentation of torch.utils.data.distributed.DistributedSampler (the warning on
    set_epoch) and of torch.distributed.algorithms.Join (uneven inputs).
    """

    meta: ClassVar[Meta] = Meta(
        id="rank-sampling",
        stage="data",
        title="Each rank has samples of its own",
        fail_title="The ranks do not share the data out",
        cost="0",
        needs=frozenset({"ranks"}),
        after=("batch-contract",),
        group="ranks",
        preset="quick",
    )
    share: float = 0.9  # of a rank's samples: from here on the same ones, not chance or padding

    def measure(self, lab: Lab) -> Sampling:
        from ._rank_shares import see_sampling

        return see_sampling(lab)

    def judge(self, seen: Sampling) -> Verdict:
        found = [f for f in (self._shared(seen), _dealt(seen), _uneven(seen), _order(seen)) if f]
        found.sort(key=lambda f: f.status is not Status.FAIL)
        first = found[0] if found else None
        size = sum(share.batch for share in seen.shares)
        step = f"{' + '.join(str(share.batch) for share in seen.shares)} = {size} samples a step"
        return Verdict(
            status=first.status if first else Status.PASS,
            message="; ".join(f.message for f in found) or _all_well(seen, step),
            measured=f"{seen.shared} of {seen.most} samples shared, {step}",
            expected="no more than padding",
            causes=tuple(Cause(title=f.cause, state=CauseState.MATCHES) for f in found),
            fix=Fix(text=first.fix) if first else None,
            location=first.location if first else None,
            values={"shared": seen.shared, "batch": size},
            details=(_table(seen),),
        )

    def _shared(self, seen: Sampling) -> _Finding | None:
        """The same samples on several ranks, beyond the padding of a DistributedSampler."""
        ranks = len(seen.shares)
        if not seen.alike and seen.shared < ranks:
            return None
        fix = "DataLoader(data, sampler=DistributedSampler(data)), without shuffle=True"
        dealt = seen.shares[0].replicas is not None
        cause = f"{seen.shares[0].sampler or 'the loader'} knows nothing of the ranks"
        if seen.alike:
            cause = "the sampler is given the same rank everywhere" if dealt else cause
            certain = seen.wiring != "unknown" and not seen.elsewhere
            text = f"all {ranks} ranks read the same samples in the same order"
            status = Status.FAIL if certain else Status.WARN
            return _Finding(status, text, cause, fix, seen.location)
        if seen.shared >= self.share * seen.most and not dealt:
            text = f"each of the {ranks} ranks reads all samples, in an order of its own"
            return _Finding(Status.WARN, text, cause, fix, seen.location)
        if dealt:
            cause = "the ranks deal out different data: a split that is drawn on each of them"
            fix = "draw splits alike: random_split(data, lengths, torch.Generator().manual_seed(0))"
        text = f"{seen.shared} of {seen.most} samples are in the share of several ranks"
        return _Finding(Status.WARN, text, cause, fix, seen.location)


def _dealt(seen: Sampling) -> _Finding | None:
    """A DistributedSampler for another number of ranks."""
    ranks = len(seen.shares)
    wrong = [s.replicas for s in seen.shares if s.replicas is not None and s.replicas != ranks]
    if not wrong:
        return None
    return _Finding(
        Status.FAIL,
        f"the sampler deals the samples out for {wrong[0]} ranks, and there are {ranks}: "
        + ("some are read by none" if wrong[0] > ranks else "the ranks share some"),
        "num_replicas is not the number of ranks",
        "leave num_replicas and rank out: DistributedSampler(data) asks the process group",
        seen.location,
    )


def _uneven(seen: Sampling) -> _Finding | None:
    """Ranks with fewer batches leave the others waiting in a collective."""
    counts = [share.batches for share in seen.shares]
    if None in counts or len(set(counts)) == 1 or seen.joins:
        return None
    hangs = seen.wiring in ("wrapped", "later")
    listed = ", ".join(str(count) for count in counts)
    return _Finding(
        Status.FAIL if hangs else Status.WARN,
        f"the ranks have {listed} batches an epoch: the longer ones wait for ever",
        "the shares are of different lengths",
        "give all ranks as many batches (DistributedSampler pads), or train in Join",
        seen.location,
    )


def _order(seen: Sampling) -> _Finding | None:
    """The same order in every epoch."""
    share = seen.shares[0]
    if not share.repeats or share.replicas is None:
        return None
    if not share.shuffles:
        return _Finding(
            Status.WARN, "the samples come in the same order in every epoch",
            "the sampler does not shuffle", "DistributedSampler(data, shuffle=True)", seen.location,
        )  # fmt: skip
    if seen.sets_epoch not in ("no", "constant"):
        return None
    how = "never calls set_epoch" if seen.sets_epoch == "no" else "always sets the same epoch"
    return _Finding(
        Status.FAIL,
        f"every epoch has the same order and batches: the training loop {how}",
        f"the loop over epochs {how}",
        "sampler.set_epoch(epoch) at the start of each epoch",
        seen.epoch_line or seen.location,
    )


def _all_well(seen: Sampling, step: str) -> str:
    text = f"{len(seen.shares)} ranks, each with samples of its own: {step}"
    first = seen.shares[0]
    if first.repeats and first.shuffles and seen.sets_epoch == "unknown":
        text += "; whether set_epoch is called is not to be read"
    return text


def _table(seen: Sampling) -> Table:
    return Table(
        title="Shares of the ranks",
        columns=("rank", "samples read", "batch", "batches", "sampler"),
        rows=tuple(
            (number, share.samples, share.batch, share.batches, share.sampler or None)
            for number, share in enumerate(seen.shares)
        ),
    )
