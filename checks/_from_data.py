"""Whether a loss compares with data, or with something that the model made."""

from __future__ import annotations

from typing import Any

import torch

from recipe_check import tree
from recipe_check.probes.watch import LossTerm

SAME = 0.999  # correlation with a tensor of the batch: scaled targets are data, too


def is_from_data(term: LossTerm, batch: Any) -> bool:
    """Whether the term's target is a tensor of the batch, a part of one, or one scaled.

    Teachers, target networks and quantised codes are made by the model: their level at the start
    says nothing.
    """
    target = term.target
    if not isinstance(target, torch.Tensor) or not target.is_floating_point():
        return True
    leaves = [leaf for leaf in tree.leaves(batch) if leaf.layout is torch.strided]
    if any(leaf.untyped_storage().data_ptr() == target.untyped_storage().data_ptr()
           for leaf in leaves):  # fmt: skip
        return True
    flat = target.detach().double().flatten()
    return any(_alike(flat, leaf) for leaf in leaves if leaf.numel() == flat.numel())


def _alike(flat: torch.Tensor, leaf: torch.Tensor) -> bool:
    if leaf.is_complex():
        return False
    other = leaf.detach().double().flatten().to(flat.device)
    if torch.equal(flat, other):
        return True
    pair = torch.stack((flat, other))
    varies = bool((pair.std(1) > 0).all()) if flat.numel() > 2 else False
    return varies and abs(float(torch.corrcoef(pair)[0, 1])) > SAME
