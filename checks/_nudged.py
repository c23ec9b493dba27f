"""Whether rows reach each other only by a choice: who is within a capacity, who ranks first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from recipe_check import tree
from recipe_check.errors import UserCodeError

from ._rows import Rows, change_of

NUDGE = 1e-3  # of the deviation: choices stay what they are, anything that is computed moves


def by_choice(rows: Rows, base: list[torch.Tensor], group: Sequence[int]) -> bool:
    """Moves these rows a little, instead of replacing them: where they themselves react and the
    others stay as they are, to the bit, no value of theirs went into the others. Experts with a
    capacity do that: a token is dropped where too many came before it. Cost: 1 F."""
    try:
        after = _nudged(rows, group)
    except UserCodeError:
        return False
    change = change_of(base, after)
    inside = all(change[row] > 0 for row in group)
    return inside and not any(change[r] for r in range(rows.axes.rows) if r not in group)


def _nudged(rows: Rows, group: Sequence[int]) -> list[torch.Tensor]:
    """The outputs when float inputs of the rows, or the embeddings of their tokens, move."""
    index = torch.tensor(list(group))
    leaves = tree.leaves(rows.batch)
    floats = {p: a for p, a in rows.axes.inputs.items() if leaves[p].is_floating_point()}
    changed = {p: _moved(leaves[p], axis, index) for p, axis in floats.items()}

    def embedded(_module: nn.Module, _args: Any, out: torch.Tensor) -> torch.Tensor:
        same = out.ndim > 2 and out.shape[0] == rows.axes.rows
        return _moved(out, 0, index) if same else out

    with ExitStack() as hooks:
        for module in rows.rig.model.modules():
            if isinstance(module, nn.Embedding):
                hooks.callback(module.register_forward_hook(embedded).remove)
        return rows.outputs(tree.replace_leaves(rows.batch, changed))


def _moved(value: torch.Tensor, axis: int, index: torch.Tensor) -> torch.Tensor:
    moved = value.detach().movedim(axis, 0).clone()
    chosen = moved[index]
    size = float(chosen.std()) if chosen.numel() > 1 else 1.0
    draw = torch.randn(chosen.shape, generator=torch.Generator().manual_seed(0)).to(chosen)
    moved[index] = chosen + NUDGE * (size or 1.0) * draw
    return moved.movedim(0, axis)
