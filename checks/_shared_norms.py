"""Batch normalisation that serves several layers: one set of running statistics for all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from torch import nn

from recipe_check.errors import UserCodeError

from .normalization import Problem

if TYPE_CHECKING:
    from recipe_check import Lab


def shared_norms(lab: Lab) -> Iterator[Problem]:
    """A layer with running statistics that follows different layers within one call of what is
    around it. Cost: 1 F, only where there are such layers."""
    rig = lab.rig().quiet()
    names = {id(module): name for name, module in rig.model.named_modules()}
    if not any(_tracks(module) for module in rig.model.modules()):
        return
    calls: list[tuple[str, nn.Module]] = []

    def note(module: nn.Module, _args: Any, _output: Any) -> None:
        if any(True for _ in module.parameters(recurse=False)) or _tracks(module):
            calls.append((names[id(module)], module))

    hooks = [module.register_forward_hook(note) for module in rig.model.modules()]
    try:
        with rig.looking():
            rig.forward(rig.put(lab.train_batches[0]))
    except UserCodeError:
        return
    finally:
        for hook in hooks:
            hook.remove()
    yield from _several(lab, calls)


def _tracks(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None


def _several(lab: Lab, calls: list[tuple[str, nn.Module]]) -> Iterator[Problem]:
    """Norms called more often than any of the layers that they follow: a part that runs several
    times as a whole (two views, one backbone) calls both as often."""
    counts: dict[str, int] = {}
    for name, _ in calls:
        counts[name] = counts.get(name, 0) + 1
    before: dict[str, set[str]] = {}
    for (one, _), (name, module) in pairwise(calls):
        if _tracks(module):
            before.setdefault(name, set()).add(one)
    for name, layers in before.items():
        if len(layers) > 1 and counts[name] > max(counts[layer] for layer in layers):
            yield Problem(
                "one batch normalisation for several layers",
                f"{name} follows {len(layers)} layers ({', '.join(sorted(layers)[:3])}): its "
                "running statistics mix theirs, so that evaluation differs from training",
                "give each layer a batch normalisation of its own",
                lab.subject.created.get(name),
                certain=False,
            )
