"""The measurement of `rank-sampling`: which samples each rank reads, and in which order."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import BatchSampler, IterableDataset, SequentialSampler

from recipe_check import Location, NotApplicable, tree
from recipe_check.guard import guarded
from recipe_check.lab import preserved_rng, seed_everything
from recipe_check.reading import read_batches

from ._blame import maker
from ._loop_places import place
from ._rank_source import Site, sites
from ._rank_wiring import ALONE, wiring
from .rank_sampling import Sampling, Share

if TYPE_CHECKING:
    from recipe_check import Lab

MOST = 50_000  # samples of a rank whose order is read
PROBES = 16  # samples that are fetched, to see whether an index means the same everywhere
BATCHES = 4  # that are read where there is no sampler


@dataclass(frozen=True)
class Read:
    """What one rank tells the others: its share, which samples they are (indices, or hashes of
    their content), whether by content, and hashes of a few samples of its data set."""

    share: Share
    keys: tuple[int, ...]
    by_content: bool
    probes: tuple[int, ...]


def see_sampling(lab: Lab) -> Sampling:
    """Raises NotApplicable where a library deals the samples out."""
    wired, ranks = wiring(lab), lab.ranks
    if ranks is None:
        raise NotApplicable(ALONE)
    sets, line = _sets_epoch(lab)
    ranks.at("reading its samples")
    with ranks.as_left():
        own = _by_index(lab, sets) or _by_content(lab)
    found = ranks.gather(own)
    shared, most, alike = _overlap(found)
    calls = sites(lab)
    return Sampling(
        shares=tuple(read.share for read in found),
        shared=shared,
        most=most,
        alike=alike,
        wiring=wired.kind,
        sets_epoch=sets,
        elsewhere=own.share.replicas is None
        and any(s.name.startswith("Distributed") and "Sampler" in s.name for s in calls),
        joins=any(_joins(s) for s in calls),
        location=maker(lab, "data"),
        epoch_line=line,
    )


def _joins(site: Site) -> bool:
    """`with Join([model])` or `with model.join()`; texts are joined with arguments."""
    return site.name == "Join" or (site.name == "join" and not site.node.args)


def _by_index(lab: Lab, sets: str) -> Read | None:
    """From the sampler, without fetching what it names; None where it names no indices."""
    loader: Any = lab.subject.loader
    dataset = getattr(loader, "dataset", None)
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return None
    sampler = _sampler(loader)
    first = _indices(sampler)
    if not first:
        return None
    again = _next_epoch(sampler, sets)
    share = Share(
        samples=len(first),
        batch=int(getattr(loader, "batch_size", None) or _mean_batch(loader, len(first))),
        batches=_length(loader),
        sampler=type(sampler).__name__,
        replicas=_number(sampler, "num_replicas"),
        rank=_number(sampler, "rank"),
        shuffles=bool(getattr(sampler, "shuffle", not isinstance(sampler, SequentialSampler))),
        repeats=None if again is None else first == again,
    )
    return Read(share, tuple(_within(dataset, first)), False, _probes(dataset, loader))


def _sampler(loader: Any) -> Any:
    """The one that decides: a batch sampler of the target's own, or what torch's is around."""
    batches = getattr(loader, "batch_sampler", None)
    own = batches is not None and type(batches) is not BatchSampler
    return batches if own else getattr(loader, "sampler", None)


def _indices(sampler: Any) -> list[int]:
    """Its first epoch; empty where it does not give numbers."""
    found: list[int] = []
    for item in islice(sampler or (), MOST):
        items = item if isinstance(item, list | tuple) else [item]
        if not all(isinstance(i, int) or getattr(i, "ndim", 1) == 0 for i in items):
            return []
        found += [int(i) for i in items]
        if len(found) >= MOST:
            break
    return found[:MOST]


def _next_epoch(sampler: Any, sets: str) -> list[int] | None:
    """The order of a second epoch, as the training loop begins it."""
    set_epoch = getattr(sampler, "set_epoch", None)
    if set_epoch is None:
        return _indices(sampler)
    now = _number(sampler, "epoch") or 0
    set_epoch(now + 1 if sets == "yes" else now)
    found = _indices(sampler)
    set_epoch(now)
    return found


def _within(dataset: Any, indices: Sequence[int]) -> Iterable[int]:
    """Indices of a Subset (a random split) as those of the data it is taken from."""
    while hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        inside, dataset = dataset.indices, dataset.dataset
        indices = [int(inside[i]) for i in indices]
    return indices


def _probes(dataset: Any, loader: Any) -> tuple[int, ...]:
    """A few samples of the whole data, drawn alike on all ranks."""
    while hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    collate = getattr(loader, "collate_fn", None) or (lambda samples: samples)
    places = [number * len(dataset) // PROBES for number in range(PROBES)]
    found = []
    with preserved_rng(), guarded("the data set"):
        for number in dict.fromkeys(places):
            seed_everything(number)
            found.append(_hash(tree.leaves(collate([dataset[number]]))))
    return tuple(found)


def _by_content(lab: Lab) -> Read:
    """From the rows of the first batches, where no sampler can be read."""
    loader = lab.subject.loader
    once = isinstance(loader, Iterator)
    batches = lab.train_batches[:BATCHES] if once else read_batches(loader, BATCHES)
    keys = [key for batch in batches for key in _rows(batch)]
    if not keys:
        raise NotApplicable("the batches hold no tensors to tell samples apart by")
    size = len(keys) // max(len(batches), 1)
    share = Share(len(keys), size, _length(loader), "")
    return Read(share, tuple(keys), True, ())


def _rows(batch: Any) -> list[int]:
    leaves = [leaf for leaf in tree.leaves(batch) if leaf.ndim]
    count = len(leaves[0]) if leaves else 0
    whole = [leaf for leaf in leaves if len(leaf) == count]
    return [_hash([leaf[row] for leaf in whole]) for row in range(count)]


def _hash(leaves: Sequence[torch.Tensor]) -> int:
    """63 bits of the content."""
    digest = hashlib.blake2b(digest_size=8)
    for leaf in leaves:
        raw = leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return int.from_bytes(digest.digest(), "big") >> 1


def _overlap(found: Sequence[Read]) -> tuple[int, int, bool]:
    """Samples in the share of several ranks, of the largest share, and whether all are alike.

    By content only an equal order counts: data may hold equal samples.
    """
    most = max(len(set(read.keys)) for read in found)
    one_data = all(read.probes == found[0].probes for read in found)
    if not one_data or len({read.by_content for read in found}) > 1:
        return 0, most, False
    alike = all(read.keys == found[0].keys for read in found)
    if found[0].by_content:
        distinct = len(set(found[0].keys)) > 1
        return (most if alike and distinct else 0), most, alike and distinct
    counts: dict[int, int] = {}
    for read in found:
        for key in set(read.keys):
            counts[key] = counts.get(key, 0) + 1
    return sum(count > 1 for count in counts.values()), most, alike


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except (TypeError, NotImplementedError, AttributeError):
        return None


def _mean_batch(loader: Any, samples: int) -> int:
    return samples // max(_length(loader) or 1, 1)


def _number(sampler: Any, name: str) -> int | None:
    value = getattr(sampler, name, None)
    return value if isinstance(value, int) else None


def _sets_epoch(lab: Lab) -> tuple[str, Location | None]:
    """Whether the loops over epochs tell the sampler which one it is; where it is no help."""
    loops = [loop for loop in lab.training_loops if loop.epoch is not None]
    calls = [s for s in sites(lab) if s.name == "set_epoch"]
    if not loops:
        return "unknown", None
    for loop in loops:
        assert loop.epoch is not None
        events = [e for e in loop.epoch.events() if e.owner.endswith(".set_epoch")]
        if events and not any(_is_constant(e.node) for e in events):
            return "yes", None
        if events:
            return "constant", place(events[0])
    if any(site.looped for site in calls):
        return "unknown", None
    return ("constant", calls[0].location) if calls else ("no", None)


def _is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and all(isinstance(a, ast.Constant) for a in node.args)
