"""How a target keeps its ranks in step: what is loaded says it, else what its source calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recipe_check import Location, NotApplicable
from recipe_check.lineage import made_at

from ._rank_source import Site, sites

if TYPE_CHECKING:
    from recipe_check import Lab

ALONE = (
    "one process: start all ranks with  "
    "torchrun --nproc-per-node 2 -m recipe_check TARGET"
)  # fmt: skip
LIBRARIES = {
    "Accelerator": "accelerate",
    "Fabric": "Lightning Fabric",
    "Trainer": "its Trainer",
    "Seq2SeqTrainer": "its Trainer",
    "fully_shard": "FSDP",
    "FullyShardedDataParallel": "FSDP",
    "parallelize_module": "tensor parallelism",
    "DistributedOptimizer": "Horovod",
}
BY_HAND = ("all_reduce", "all_reduce_coalesced", "reduce_scatter_tensor", "average_parameters")


@dataclass(frozen=True)
class Wiring:
    """`kind` is `wrapped` (in DistributedDataParallel, when loaded), `later` (the source wraps it
    where it trains), `by hand` (the source reduces gradients itself), `nothing` (a loop trains, and
    nothing joins the ranks) or `unknown` (no loop is to be read). The rest are options of the
    wrapper and the line that made it."""

    kind: str
    unused: bool = False
    buffers: bool = True
    static: bool = False
    location: Location | None = None

    @property
    def is_replica(self) -> bool:
        return self.kind in ("wrapped", "later")


def wiring(lab: Lab) -> Wiring:
    """Raises NotApplicable for one process, and where a library does it in its own way."""
    if lab.ranks is None:
        raise NotApplicable(ALONE)
    replica, calls = lab.subject.replica, sites(lab)
    if replica is not None:
        return _wrapped(replica)
    _own_ways(lab.subject.original.model, calls)
    wraps = [s for s in calls if s.name in ("DistributedDataParallel", "DDP")]
    if wraps:
        return _later(wraps[0])
    reduced = [s for s in calls if s.name in BY_HAND]
    if reduced:
        return Wiring("by hand", location=reduced[0].location)
    return Wiring("nothing" if lab.training_loops else "unknown")


def _wrapped(replica: DistributedDataParallel) -> Wiring:
    return Wiring(
        "wrapped",
        unused=bool(replica.find_unused_parameters),
        buffers=bool(replica.broadcast_buffers),
        static=bool(replica.static_graph),
        location=made_at(replica),
    )


def _later(site: Site) -> Wiring:
    return Wiring(
        "later",
        unused=site.option("find_unused_parameters", default=False),
        buffers=site.option("broadcast_buffers", default=True),
        static=site.option("static_graph", default=False),
        location=site.location,
    )


def _own_ways(model: nn.Module, calls: list[Site]) -> None:
    kinds: list[Any] = [kind for module in model.modules() for kind in type(module).__mro__]
    names = {kind.__name__ for kind in kinds} | {type(p).__name__ for p in model.parameters()}
    if names & {"FSDPModule", "FullyShardedDataParallel", "FlatParameter", "DTensor"}:
        raise NotApplicable("each rank holds its own part of the weights")
    if "DistributedDataParallel" in names:
        raise NotApplicable("parts of the model are wrapped one by one")
    if "LightningModule" in names:
        raise NotApplicable("Lightning's Trainer distributes the model and its data")
    used = [s.name for s in calls if s.name in LIBRARIES]
    if used or any("deepspeed" in s.owner for s in calls):
        name = LIBRARIES[used[0]] if used else "DeepSpeed"
        raise NotApplicable(f"{name} distributes the model and its data, when it trains")
