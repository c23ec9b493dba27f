"""Rules on targets: left out, scored although they are padding, or smoothed away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recipe_check import tree
from recipe_check.probes.watch import LossTerm

from ._blame import maker
from ._loss_input import Origin
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

SMOOTH = 0.5  # more than half of the weight on all classes alike; usual values are 0.05 to 0.2
IGNORED = 0.02  # share of the labels
PADDED = 0.1  # share of the positions


def left_out(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """ignore_index is one of the classes: one label a sample, or labels of differing tokens."""
    target, index = term.target, term.ignore_index
    if term.kind not in ("cross_entropy", "nll_loss") or not isinstance(target, torch.Tensor):
        return None
    if target.is_floating_point() or not 0 <= index < _classes(term):
        return None
    ignored = target == index
    share = float(ignored.double().mean())
    tokens = _tokens(lab, target)
    scattered = tokens is not None and _is_scattered(ignored.reshape(tokens.shape))
    one_each = target.ndim == 1 and len(target) == _rows(lab)
    if share < IGNORED or not (scattered or one_each):
        return None
    return Breach(
        "a class is left out of the loss",
        f"ignore_index={index} is the label of {share:.0%} of the targets, and not of padding",
        "leave ignore_index out, or give padding a label that no class has (-100)",
        term.location or maker(lab, "loss"),
        certain=False,
    )


def padding_scored(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Tokens at the ends of the rows that are all alike, with labels that are all alike."""
    target = term.target
    if term.kind not in ("cross_entropy", "nll_loss") or not isinstance(target, torch.Tensor):
        return None
    tokens = _tokens(lab, target)
    if tokens is None or target.is_floating_point() or term.value.numel() != 1:
        return None
    padded = _padding(tokens)
    share = float(padded.double().mean())
    labels = target.reshape(tokens.shape)[padded]
    if share < PADDED or len(torch.unique(labels)) != 1 or int(labels[0]) == term.ignore_index:
        return None
    return Breach(
        "padding is scored in the loss",
        f"{share:.0%} of the positions are padding (token {int(tokens[padded][0])}), and the loss "
        f"judges their label {int(labels[0])} like any other",
        f"give {term.kind} ignore_index={int(labels[0])}, or label padding with -100",
        term.location or maker(lab, "loss"),
        certain=False,
    )


def smoothed_away(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Label smoothing that leaves less than half of the weight to the label."""
    weight = float(term.kwargs.get("label_smoothing", 0.0) or 0.0)
    if term.kind == "cross_entropy" and isinstance(term.target, torch.Tensor) and not weight:
        weight = _smoothing(term)
    if weight <= SMOOTH:
        return None
    return Breach(
        "label smoothing hides the label",
        f"{weight:.0%} of each target is spread over all classes alike",
        "use label_smoothing=0.1, or 1 - that for the label itself",
        term.location or maker(lab, "loss"),
        certain=False,
    )


def _smoothing(term: LossTerm) -> float:
    """The weight spread over all classes, where each target is one class and the rest equal."""
    target = term.target
    if not target.is_floating_point() or target.ndim < 2 or target.shape[1] < 3:
        return 0.0
    rows = target.detach().double().transpose(1, -1).reshape(-1, target.shape[1]).sort(1).values
    alike = bool((rows[:, :-1] - rows[:, :1]).abs().max() < 1e-6)
    same = bool((rows - rows[:1]).abs().max() < 1e-6)
    certain = bool((rows[:, -1] - rows[:, 0]).min() > 1e-6)
    return float(rows[0, 0]) * rows.shape[1] if alike and same and certain else 0.0


def _classes(term: LossTerm) -> int:
    return term.prediction.shape[1] if term.prediction.ndim > 1 else 1


def _rows(lab: Lab) -> int:
    return next((len(t) for t in tree.leaves(lab.train_batches[0]) if t.ndim), 0)


def _tokens(lab: Lab, target: torch.Tensor) -> torch.Tensor | None:
    """The integer inputs (rows, time) that the target labels one by one."""
    inputs = tree.leaves(lab.rig().split(lab.train_batches[0]).inputs)
    found = [t for t in inputs if t.ndim == 2 and not t.is_floating_point() and t.dtype.itemsize > 1
             and t.numel() == target.numel()]  # fmt: skip
    return found[0].to(target.device) if found else None


def _is_scattered(ignored: torch.Tensor) -> bool:
    """Whether most lie inside their rows: padding and prompts lie at an end."""
    kept = (~ignored).long()
    inside = ignored & (kept.cumsum(1) > 0) & (kept.flip(1).cumsum(1).flip(1) > 0)
    return int(inside.sum()) * 2 > int(ignored.sum())


def _padding(tokens: torch.Tensor) -> torch.Tensor:
    """Where rows of different lengths end in one token that stands nowhere else."""
    last = tokens[:, -1].mode().values
    same = tokens == last
    trailing = same.flip(1).long().cumprod(1).flip(1).bool()
    lengths = trailing.sum(1)
    inside = bool((same & ~trailing).any())
    if inside or len(torch.unique(lengths)) < 3:
        return torch.zeros_like(same)
    return trailing
