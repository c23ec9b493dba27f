"""What attention is given: where token inputs are padding."""

from __future__ import annotations

import torch

LEAST_PADDED = 0.1  # share of the rows that end (or begin) with padding


def padding_of(leaves: list[torch.Tensor]) -> torch.Tensor | None:
    """Where [batch, time] token inputs are padding: a token that stands nowhere but in runs of
    different lengths at the end (or at the beginning) of the rows."""
    for leaf in leaves:
        if leaf.ndim != 2 or leaf.is_floating_point() or leaf.shape[1] < 4 or len(leaf) < 4:
            continue
        for side in (leaf, leaf.flip(1)):
            token = side[:, -1].mode().values
            padding = side == token
            runs = padding.flip(1).long().cumprod(1).flip(1).bool()
            lengths = runs.sum(1)
            varied = len(set(lengths.tolist())) > 2 and int(lengths.max()) < leaf.shape[1]
            padded = float((lengths > 0).float().mean()) >= LEAST_PADDED
            if varied and padded and torch.equal(padding, runs):
                return padding if side is leaf else padding.flip(1)
    return None
