"""The measurement of `rank-gradients`: a step of each rank alone, and one of all together."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recipe_check import Location, NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.reading import read_batches

from ._loop_places import of_kinds, place
from ._rank_source import sites
from ._rank_wiring import ALONE, Wiring, wiring
from .rank_gradients import Gradient, RankStep, Steps

if TYPE_CHECKING:
    from recipe_check import Lab, Rig
    from recipe_check.rank_store import Ranks

BLOCK = 2**22  # numbers that are multiplied at once
UNFINISHED = "Expected to have finished reduction"


def see_steps(lab: Lab) -> Steps:
    """Raises NotApplicable where a library or the source's own calls join the ranks."""
    wired, ranks = wiring(lab), lab.ranks
    if ranks is None:
        raise NotApplicable(ALONE)
    if wired.kind == "by hand":
        raise NotApplicable(f"the source averages gradients by hand ({wired.location})")
    _check_device(lab)
    batch = first_batch(lab)
    ranks.at("in a step of its own")
    local = ranks.gather(_alone(lab, batch))
    if len({tuple(g.name for g in step.gradients) for step in local}) > 1:
        raise NotApplicable("the ranks do not train the same parameters: see rank-parameters")
    unused = [{g.name for g in step.gradients if g.norm is None} for step in local]
    expected = wired.unused or wired.static
    joined: list[RankStep] = []
    if wired.is_replica and (expected or all(names == unused[0] for names in unused)):
        ranks.at("in a step with the others")
        joined = ranks.gather(_together(lab, ranks, batch, wired))
    return Steps(
        wiring=wired.kind,
        local=tuple(local),
        joined=tuple(joined),
        unused_allowed=expected,
        searches=wired.unused,
        location=wired.location or _backward(lab),
        bypass=_bypass(lab),
        unsynced=_unsynced(lab),
    )


def first_batch(lab: Lab) -> Any:
    """The first batch that this rank would train on."""
    assert lab.ranks is not None

    def read() -> Any:
        if isinstance(lab.subject.loader, Iterator):
            return lab.train_batches[0]
        with lab.ranks.as_left() if lab.ranks else lab.seeded():
            found = read_batches(lab.subject.loader, 1)
        if not found:
            raise UserCodeError("the data loader yields no batch")
        return found[0]

    return lab.cached("first batch", read)


def _check_device(lab: Lab) -> None:
    model = lab.subject.original.model
    synced = any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
    if synced and lab.device.type != "cuda":
        raise NotApplicable("SyncBatchNorm trains on GPUs only")


def _alone(lab: Lab, batch: Any) -> RankStep:
    """One forward and one backward pass, without any other rank."""
    rig = lab.rig().train()
    _step(lab, rig, batch)
    return RankStep(_rows(batch), tuple(_gradients(rig, rig.model)))


def _together(lab: Lab, ranks: Ranks, batch: Any, wired: Wiring) -> RankStep:
    """One step in the wrapper, and the beginning of another; the weights stay."""
    rig = lab.rig().train()
    inner = rig.model
    rig.model = wrapper = _wrap(inner, wired, ranks.patience)
    called: list[bool] = []
    wrapper.register_forward_pre_hook(lambda *_: called.append(True))
    _step(lab, rig, batch)
    gradients = tuple(_gradients(rig, inner))
    unfinished = ""
    try:
        rig.step(rig.put(batch))
    except UserCodeError as error:
        if UNFINISHED not in str(error):
            raise
        unfinished = UNFINISHED + " in the prior iteration"
    return RankStep(_rows(batch), gradients, bool(called), unfinished)


def _wrap(model: nn.Module, wired: Wiring, seconds: float) -> DistributedDataParallel:
    """As the target does. A collective gives up before the check is stopped, so that the rank
    which is missing can be named."""
    group = dist.new_group(timeout=timedelta(seconds=seconds))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # an option has another name since 2.13
        wrapper = DistributedDataParallel(
            model,
            process_group=group,
            find_unused_parameters=wired.unused,
            broadcast_buffers=wired.buffers,
            static_graph=wired.static,
        )

    through: Any = DistributedDataParallel.forward

    @functools.wraps(model.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return through(wrapper, *args, **kwargs)

    vars(wrapper)["forward"] = forward  # with the signature of the model, which says how to call it
    return wrapper


def _step(lab: Lab, rig: Rig, batch: Any) -> None:
    seed_everything(lab.seed)
    loss = rig.step(rig.put(batch)).loss
    if not loss.requires_grad:
        raise NotApplicable("the loss is cut off from the weights")
    rig.backward(loss)


def _gradients(rig: Rig, model: nn.Module) -> Iterator[Gradient]:
    """Of all that is trained: the model's parameters, and those of the loss that are optimized."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if isinstance(rig.loss, nn.Module) and rig.optimizer is not None:
        held = {id(p) for group in rig.optimizer.param_groups for p in group["params"]}
        named += [(f"loss.{n}", p) for n, p in rig.loss.named_parameters() if id(p) in held]
    if not named:
        raise NotApplicable("no parameter is trained")
    for name, parameter in named:
        if parameter.grad is None:
            yield Gradient(name, None)
        else:
            grad = parameter.grad.detach()
            dense = grad.to_dense() if grad.is_sparse else grad
            flat = (torch.view_as_real(dense) if dense.is_complex() else dense).reshape(-1)
            yield Gradient(name, float(flat.double().norm()), _product(flat))


def _product(flat: torch.Tensor) -> float:
    """With the cosines of 0, 1, 2 …: two gradients of one norm that differ have others."""
    total = 0.0
    for number, block in enumerate(torch.split(flat.double(), BLOCK)):
        start = number * BLOCK
        angles = torch.arange(start, start + len(block), dtype=torch.float64, device=flat.device)
        total += float(torch.dot(block, angles.cos()))
    return total


def _rows(batch: Any) -> int:
    return next((len(leaf) for leaf in tree.leaves(batch) if leaf.ndim), 1)


def _backward(lab: Lab) -> Location | None:
    """The first backward pass of a training loop."""
    passes = [event for loop in lab.training_loops for event in of_kinds(loop, "backward")]
    return place(passes[0]) if passes else None


def _bypass(lab: Lab) -> Location | None:
    """A training loop that calls what is inside the wrapper, and never the wrapper."""
    for loop in lab.training_loops:
        forwards = [e for e in loop.batch.events() if e.kind == "forward"]
        inside = [e for e in forwards if e.owner.endswith(".module")]
        whole = {e.owner for e in forwards}
        found = [e for e in inside if e.owner.removesuffix(".module") not in whole]
        if found:
            return place(found[0])
    return None


def _unsynced(lab: Lab) -> Location | None:
    """The backward passes in a loop, where all of them stand in no_sync()."""
    passes = [s for s in sites(lab) if s.name == "backward" and s.looped]
    quiet = [s for s in passes if any(_is_quiet(block) for block in s.blocks)]
    first = next(islice(quiet, 1), None)
    return first.location if first is not None and len(quiet) == len(passes) else None


def _is_quiet(block: str) -> bool:
    """Not `model.no_sync() if more else nullcontext()`."""
    return block.endswith(".no_sync()") and " if " not in block
