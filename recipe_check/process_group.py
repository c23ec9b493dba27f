"""The process group that a target finds: that of all ranks, or one of its process alone.

It is there before the target is loaded, so that a target need not begin one; where it does, the
call finds it begun.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from recipe_check.rank_store import Ranks

_OF_A_COLLECTIVE = (
    "gloo", "nccl", "processgroup", "connection closed by peer", "connection reset by peer",
)  # fmt: skip
_stores: Any = dist
_ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}


def join_alone() -> None:
    """A group of this process alone: collectives of the target's steps return at once, and
    batch statistics over all ranks are those of one."""
    os.environ.update(_ALONE)
    store = _stores.HashStore()
    dist.init_process_group(_backend("auto"), store=store, rank=0, world_size=1)
    _stays()


def join_all(ranks: Ranks, device: str, seconds: float) -> None:
    """The group of all ranks, each on its own GPU where there are enough (nccl), else gloo. A
    collective that waits for longer than `seconds` for another rank raises."""
    backend = _backend(device)
    if "nccl" in backend:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group(
        backend,
        store=_stores.PrefixStore("group", ranks.store),
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=timedelta(seconds=seconds),
    )
    _stays()


def is_of_a_collective(text: str) -> bool:
    """Whether an error's message is about another rank, and only by accident from this one."""
    return any(word in text.lower() for word in _OF_A_COLLECTIVE)


def _backend(device: str) -> str:
    """Several processes on one GPU cannot speak nccl."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cuda = device == "auto" or device.startswith("cuda")
    enough = cuda and torch.cuda.is_available() and torch.cuda.device_count() >= local
    return "cpu:gloo,cuda:nccl" if enough and dist.is_nccl_available() else "gloo"


def _stays() -> None:
    """For the rest of this process, which is ours: beginning a group again is an error, and its
    end is that of the process."""
    for module in (dist, dist.distributed_c10d):
        for name in ("init_process_group", "destroy_process_group"):
            setattr(module, name, _nothing)


def _nothing(*_: Any, **__: Any) -> None:
    return None
