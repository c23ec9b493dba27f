"""The measurement of `label-noise`: votes of the nearest samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable, tree
from recipe_check.lineage import ARITHMETIC, RANDOM, REORDERING

from ._blame import target_line
from ._data_lines import DRAWS, REORDERS, VALUES, nearest
from ._scan import scan
from .label_noise import Neighbours

if TYPE_CHECKING:
    from recipe_check import Lab

MOST = 1500
LEAST = 300
VOTES = 20
WIDTH = 64  # wider inputs are projected at random, which keeps distances


def see_neighbours(lab: Lab) -> Neighbours:
    """Votes of the 20 nearest samples on each sample's label."""
    x, y = _samples(lab)
    classes = int(y.max()) + 1
    distances = torch.cdist(x, x).fill_diagonal_(float("inf"))
    near = distances.topk(VOTES, largest=False).indices  # the nearest first
    votes = torch.zeros(len(y), classes, dtype=torch.double)
    votes.scatter_add_(1, y[near], torch.ones(near.shape, dtype=torch.double))
    most, majority = votes.max(1)
    share = most / VOTES
    mean = float(share.mean())
    expected = max(mean * (1 - mean) / VOTES, 1e-9)
    return Neighbours(
        samples=len(y),
        classes=int((torch.bincount(y) > 0).sum()),
        agreement=float((majority == y).double().mean()),
        uneven=float(share.var()) / expected,
        chance=float(torch.bincount(y).max() / len(y)),
        fading=_fading(y, near),
        linear=_linear(x, y),
        location=target_line(lab, ARITHMETIC | RANDOM | REORDERING)
        or nearest(lab, "targets", REORDERS | DRAWS | VALUES),
    )


def _fading(y: torch.Tensor, near: torch.Tensor) -> float:
    """How much of what the nearest five say, above chance, ranks 11 to 20 no longer say."""
    same = (y[near] == y[:, None]).double().mean(0)
    shares = torch.bincount(y).double() / len(y)
    close, far = float(same[:5].mean()), float(same[10:].mean())
    return (close - far) / max(close - float(shares.square().sum()), 1e-9)


def _linear(x: torch.Tensor, y: torch.Tensor) -> float:
    """Accuracy of a ridge regression on the labels: each half of the samples by the other."""
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    wanted = torch.nn.functional.one_hot(y).to(x.dtype)
    hits = 0
    for fitted, held in ((0, 1), (1, 0)):
        a, b = x[fitted::2], x[held::2]
        ridge = 0.01 * len(a) * torch.eye(a.shape[1], dtype=a.dtype)
        weights = torch.linalg.solve(a.T @ a + ridge, a.T @ wanted[fitted::2])
        hits += int(((b @ weights).argmax(1) == y[held::2]).sum())
    return hits / len(y)


def _samples(lab: Lab) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised inputs [N, at most 64] and labels [N] of the batches that were read."""
    if not scan(lab).batches:
        raise NotApplicable("the loader yields no batch")
    rig, inputs, labels, rows = lab.rig(), [], [], 0
    for batch in lab.train_batches:
        parts = rig.split(batch)
        given, wanted = tree.leaves(parts.inputs), tree.leaves(parts.target)
        if len(given) != 1 or len(wanted) != 1 or not _fits(given[0], wanted[0]):
            raise NotApplicable("no float inputs with one class label a sample")
        inputs.append(given[0].flatten(1))
        labels.append(wanted[0].long())
        rows += len(wanted[0])
        if rows >= MOST:
            break
    if rows < LEAST or len({x.shape[1] for x in inputs}) > 1:
        raise NotApplicable(f"fewer than {LEAST} samples of one size")
    x, y = torch.cat(inputs)[:MOST].double().cpu().nan_to_num(), torch.cat(labels)[:MOST].cpu()
    if int(y.min()) < 0 or bool((y == y[0]).all()):
        raise NotApplicable("labels below zero, or a single class")
    x = (x - x.mean(0)) / x.std(0).clamp_min(1e-9)
    if x.shape[1] > WIDTH:
        generator = torch.Generator().manual_seed(0)
        x = x @ torch.randn(x.shape[1], WIDTH, generator=generator, dtype=torch.double)
    return x, y


def _fits(x: torch.Tensor, y: torch.Tensor) -> bool:
    classes = not y.is_floating_point() and y.ndim == 1
    return x.is_floating_point() and x.ndim >= 2 and classes and len(x) == len(y)
