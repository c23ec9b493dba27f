"""Batches without their inputs, and with their labels dealt out anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import tree

if TYPE_CHECKING:
    from recipe_check import Rig


@dataclass(frozen=True)
class Places:
    """Positions of the input and target tensors among the leaves of a batch."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]


def own_leaves(batch: Any) -> Any:
    """Every leaf an object of its own: labels may be the very tensor of the inputs."""
    return tree.map_leaves(batch, torch.Tensor.clone)


def find_places(rig: Rig, batch: Any) -> Places:
    batch = own_leaves(batch)
    parts = rig.split(batch)
    targets = {id(leaf) for leaf in tree.leaves(parts.target)}
    everything = list(enumerate(tree.leaves(batch)))
    return Places(
        tuple(place for place, leaf in everything if id(leaf) not in targets),
        tuple(place for place, leaf in everything if id(leaf) in targets),
    )


def _is_mask(leaf: torch.Tensor) -> bool:
    if leaf.dtype == torch.bool:
        return True
    whole = not leaf.is_floating_point() and not leaf.is_complex()
    return whole and bool(((leaf == 0) | (leaf == 1)).all())


def blank(batch: Any, places: Places, *, mean: bool = False) -> Any:
    """Float inputs zero (or each feature's mean over the batch, where zeros are no valid input),
    tokens all one valid token, masks kept."""
    leaves = tree.leaves(batch)
    changed = {}
    for place in places.inputs:
        leaf = leaves[place]
        if _is_mask(leaf) or not leaf.numel():
            continue
        if leaf.is_floating_point() or leaf.is_complex():
            middle = leaf.mean(0, keepdim=True).expand_as(leaf) if mean and leaf.ndim else None
            changed[place] = torch.zeros_like(leaf) if middle is None else middle.contiguous()
        else:
            changed[place] = torch.full_like(leaf, int(leaf.flatten()[0]))
    return tree.replace_leaves(batch, changed)


def only_blank(batch: Any, places: Places) -> bool:
    """Whether nothing of the inputs is kept when they are blanked."""
    leaves = tree.leaves(batch)
    return not any(_is_mask(leaves[place]) for place in places.inputs)


def permuted(batches: Sequence[Any], places: Places) -> list[Any]:
    """Targets dealt out again over all samples; within each batch where shapes differ."""
    order_seed = 12345
    result = [dict[int, torch.Tensor]() for _ in batches]
    for place in places.targets:
        parts = [tree.leaves(batch)[place] for batch in batches]
        for number, part in enumerate(_dealt(parts, order_seed)):
            result[number][place] = part
    return [tree.replace_leaves(b, changed) for b, changed in zip(batches, result, strict=True)]


def _dealt(parts: Sequence[torch.Tensor], seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if any(part.ndim == 0 for part in parts):
        return list(parts)
    if len({part.shape[1:] for part in parts}) == 1:
        pool = torch.cat(list(parts))
        order = torch.randperm(len(pool), generator=generator).to(pool.device)
        return list(torch.split(pool[order], [len(part) for part in parts]))
    return [p[torch.randperm(len(p), generator=generator).to(p.device)] for p in parts]
