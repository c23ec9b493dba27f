"""What a second fetch of the same sample says of the data set: does it change its own samples,
turn an image without its mask, or return another sample's input?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import Subset

from ._scan import Scan

SWITCHES = re.compile("aug|train|jitter|random|nois|flip|distort", re.IGNORECASE)
STEADY = 0.9  # correlation of two changes in a row: of noise that is drawn anew it is -0.5
LEAST_ROWS = 8
TURNS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda t: t.flip(-1),
    lambda t: t.flip(-2),
    lambda t: t.flip(-1, -2),
    lambda t: t.transpose(-1, -2),
    lambda t: t.transpose(-1, -2).flip(-1),
    lambda t: t.transpose(-1, -2).flip(-2),
)
Leaves = Sequence[Sequence[torch.Tensor]]


def drifts(inputs: Leaves) -> bool:
    """Whether each fetch changes the samples further in the same direction, as a transform that
    writes into what is stored does (x -= mean); noise that is drawn anew goes back and forth."""
    first, second, third = (leaves[0] for leaves in inputs[:3])
    if not first.is_floating_point() or not first.shape == second.shape == third.shape:
        return False
    one, two = (second - first).double().flatten(1), (third - second).double().flatten(1)
    rows = (one.norm(dim=1) > 0) & (two.norm(dim=1) > 0)
    if int(rows.sum()) < LEAST_ROWS or float(rows.double().mean()) < 0.5:
        return False
    cosine = torch.nn.functional.cosine_similarity(one[rows], two[rows], dim=1)
    return bool((cosine >= STEADY).all())


def turned(inputs: Leaves, targets: Leaves) -> int:
    """Images whose pixels were put elsewhere by a fetch (the same values, flipped or turned) while
    their mask, as large as they are, stayed as it was though it is no mirror image of itself."""
    if len(targets[0]) != 1 or inputs[0][0].ndim < 3 or targets[0][0].ndim < 3:
        return 0
    found = 0
    for other in range(1, len(inputs)):
        x, y, z, w = inputs[0][0], inputs[other][0], targets[0][0], targets[other][0]
        if x.shape != y.shape or z.shape != w.shape or x.shape[-2:] != z.shape[-2:]:
            return 0
        found += sum(_only_image(*row) for row in zip(x, y, z, w, strict=True))
    return found


def _only_image(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, w: torch.Tensor) -> bool:
    if torch.equal(x, y) or not torch.equal(z, w):
        return False
    found = next((turn for turn in TURNS if torch.equal(turn(x), y)), None)
    return found is not None and not torch.equal(found(z), z)


def conflicting(known: Scan) -> float:
    """Share of the samples of one reading whose input occurs with several labels."""
    if len(known.inputs) != len(known.targets) or not known.inputs:
        return 0.0
    labels: dict[bytes, set[bytes]] = {}
    for sample, label in zip(known.inputs, known.targets, strict=True):
        labels.setdefault(sample, set()).add(label)
    return sum(len(labels[sample]) > 1 for sample in known.inputs) / len(known.inputs)


def is_switched_on(loader: Any, validation: Any) -> bool:
    """Whether the validation data are augmented by a switch that they have (`augment=True`,
    `mode="train"`), by the training data's own transform, or for being a part of these: a task may
    also be random by nature."""
    training, validation = _unwrapped(getattr(loader, "dataset", None)), _unwrapped(validation)
    if training is validation:
        return True
    values: dict[str, Any] = getattr(validation, "__dict__", {})
    on = any(v is True and SWITCHES.search(k) for k, v in values.items())
    named = any(isinstance(v, str) and v.lower() in ("train", "training") for v in values.values())
    own = values.get("transform")
    return on or named or (own is not None and own is getattr(training, "transform", None))


def _unwrapped(dataset: Any) -> Any:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset
