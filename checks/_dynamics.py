"""What is seen of a batch while it is learned by heart: predictions by step, and first filters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import Images, Table, tree

if TYPE_CHECKING:
    from recipe_check import Rig

STEPS = (10, 30, 100, 300)  # after which the predictions are kept
SAMPLES = 8
FILTERS = 32
LEAST_SIDE = 3


@dataclass
class Dynamics:
    """Predictions of the first samples after some of the steps."""

    labels: tuple[str, ...] = ()
    kept: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def keep(self, step: int, pair: tuple[torch.Tensor | None, torch.Tensor | None]) -> None:
        """Keeps predicted and true classes, [samples] each; nothing for other tasks."""
        predicted, target = pair
        if predicted is None or target is None or predicted.shape != target.shape:
            return
        self.labels = _texts(target)
        self.kept[step] = _texts(predicted)

    def table(self) -> tuple[Table, ...]:
        """A row for each sample, a column for each look; empty without classes."""
        if len(self.kept) < 2:
            return ()
        columns = [self.labels, *self.kept.values()]
        return (
            Table(
                title="Predictions while the batch is learned",
                columns=("sample", "label", *(f"step {step}" for step in self.kept)),
                rows=tuple((i, *row) for i, row in enumerate(zip(*columns, strict=True))),
                caption="A prediction that flips for long tells of a rate that is too high",
            ),
        )


def _texts(values: torch.Tensor) -> tuple[str, ...]:
    return tuple(f"{value:.4g}" for value in values.flatten()[:SAMPLES].tolist())


def first_filters(rig: Rig) -> tuple[Images, ...]:
    """The filters of the first convolution over one or three channels, after the fit."""
    for name, module in rig.model.named_modules():
        if isinstance(module, nn.Conv2d) and min(module.kernel_size) >= LEAST_SIDE:
            weight = module.weight.detach()[:FILTERS].float().cpu()
            return (_pictures(name, weight),) if weight.shape[1] in (1, 3) else ()
    return ()


def _pictures(name: str, weight: torch.Tensor) -> Images:
    flat = weight.flatten(1)
    low, high = flat.amin(1)[:, None, None, None], flat.amax(1)[:, None, None, None]
    scaled = ((weight - low) / (high - low).clamp_min(1e-12)).mul(255).round().div(255)
    pixels = scaled[:, 0] if scaled.shape[1] == 1 else scaled.permute(0, 2, 3, 1)
    return Images(
        title=f"Filters of the first layer ({name}) after the fit",
        labels=tuple("" for _ in range(len(weight))),
        pixels=tree.nested(pixels),
        caption="Each filter scaled to its own range; smooth structure is good, noise is usual "
        "after a few steps",
    )
