"""The measurements of the data checks, from one reading of the whole loader."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import Location, NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.lineage import ARITHMETIC
from recipe_check.probes.watch import LossObserver, Watch

from ._blame import last_layer, maker, target_line
from ._scan import Scan, scan
from .batch_contract import Batches, Problem
from .duplicates import Repeats
from .label_range import Labels
from .shuffling import Mixing

if TYPE_CHECKING:
    from recipe_check import Lab


def see_batches(lab: Lab) -> Batches:
    """What is wrong with the batches, worst first."""
    found = scan(lab)
    problems = []
    if found.broken:
        problems.append(
            Problem(
                f"{found.broken_rows} samples hold NaN or infinity, the first: {found.broken[0]}",
                f"{found.broken_rows} samples not finite", "0",
                "drop or impute missing values before the loader", certain=True,
            )
        )  # fmt: skip
    low, high = found.moments.low, found.moments.high
    flat = low is not None and high is not None and bool((low == high).all())
    if (len(set(found.inputs)) == 1 or flat) and found.rows >= 16:
        problems.append(
            Problem(
                "every sample has the same input", "1 distinct input", f"{found.rows}",
                "look at what the data set returns for different indices", certain=True,
            )
        )  # fmt: skip
    if len(found.dtypes) > 1:
        kinds = ", ".join(sorted(found.dtypes))
        problems.append(
            Problem(f"the input's dtype changes between batches: {kinds}", kinds, "one dtype",
                    "convert in the data set", certain=False)
        )  # fmt: skip
    leftover = _leftover(lab, found)
    if leftover is not None:
        problems.append(leftover)
    return Batches(found.batches, found.rows, found.first, tuple(problems))


def _leftover(lab: Lab, found: Scan) -> Problem | None:
    """A last batch of one sample, tried out: does a training step raise, or warn of nothing?"""
    if not found.sizes or found.sizes[-1] != 1 or max(found.sizes) == 1 or found.late:
        return None
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm)
               for m in lab.subject.original.model.modules()):  # fmt: skip
        return None
    rig = lab.rig().train()
    text, certain = (
        "the last batch has one sample, which batch normalisation learns nothing from",
        False,
    )
    try:
        rig.step(rig.put(found.last))
    except UserCodeError as error:
        text, certain = f"the last batch has one sample, and training on it raises: {error}", True
    return Problem(
        text, "1 sample in the last batch", "at least 2",
        "set drop_last=True, or choose another batch size", certain=certain,
        location=maker(lab, "data"),
    )  # fmt: skip


def see_labels(lab: Lab) -> Labels:
    """Labels against the outputs of the model, found without calling the loss on bad labels."""
    found = scan(lab)
    if not found.labels:
        raise NotApplicable("the targets are no class labels")
    outputs, ignored = _outputs(lab)
    labels = torch.cat(found.labels)
    labels = labels[labels != ignored].long()
    if not labels.numel():
        raise NotApplicable(f"all labels are ignored ({ignored})")
    inside = labels[(labels >= 0) & (labels < outputs)]
    return Labels(
        low=int(labels.min()),
        high=int(labels.max()),
        outputs=outputs,
        outside=len(labels) - len(inside),
        counts=tuple(torch.bincount(inside, minlength=outputs).tolist()),
        location=_label_line(lab, labels, outputs),
    )


def _label_line(lab: Lab, labels: torch.Tensor, outputs: int) -> Location | None:
    """Too few outputs are the last layer's fault, shifted or scaled labels their own."""
    classes = int((torch.bincount(labels.clamp_min(0)) > 0).sum())
    if classes > outputs:
        return last_layer(lab)
    return target_line(lab, ARITHMETIC)


def _outputs(lab: Lab) -> tuple[int, int]:
    """Number of classes that the loss receives and the label that it ignores, found with the
    labels all zero."""
    rig = lab.rig()
    batch = lab.train_batches[0]
    parts = rig.split(batch)
    target = tree.leaves(parts.target)
    places = [i for i, t in enumerate(tree.leaves(batch)) if any(t is y for y in target)]
    zeros = {p: torch.zeros_like(tree.leaves(batch)[p]) for p in places}
    observer = LossObserver()
    try:
        with rig.looking(), Watch(observer):
            rig.train().step(rig.put(tree.replace_leaves(batch, zeros)))
    except UserCodeError as error:
        raise NotApplicable(f"the model does not run: {error}") from error
    kinds = ("cross_entropy", "nll_loss")
    terms = [t for t in observer.terms if t.kind in kinds and t.prediction.ndim >= 2]
    if not terms or not isinstance(terms[0].target, torch.Tensor):
        raise NotApplicable("no classification loss was called")
    if terms[0].target.is_floating_point() or terms[0].target.numel() != target[0].numel():
        raise NotApplicable("the loss does not take the labels of the batch")
    return int(terms[0].prediction.shape[1]), terms[0].ignore_index


def see_mixing(lab: Lab) -> Mixing:
    """Label entropy within batches against that of random batches of the same sizes."""
    found = scan(lab)
    whole = [labels for labels in found.labels if len(labels) > 1]
    if len(whole) < 2 or sum(map(len, found.labels)) != found.rows:
        raise NotApplicable("no class labels, one a sample, in batches of two or more")
    everything = torch.cat(whole)
    generator = torch.Generator().manual_seed(0)
    shuffled = everything[torch.randperm(len(everything), generator=generator)]
    random = list(torch.split(shuffled, [len(labels) for labels in whole]))
    return Mixing(len(whole), _mean_entropy(whole), _mean_entropy(random), maker(lab, "data"))


def _mean_entropy(batches: Sequence[torch.Tensor]) -> float:
    return sum(_entropy(labels) for labels in batches) / len(batches)


def _entropy(labels: torch.Tensor) -> float:
    counts = Counter(labels.tolist())
    shares = [count / len(labels) for count in counts.values()]
    return -sum(share * math.log(share) for share in shares)


def see_repeats(lab: Lab) -> Repeats:
    """Equal samples within the training data and across to the validation data."""
    training = scan(lab)
    if not training.inputs:
        raise NotApplicable("the inputs are too small, or have no rows, to be told apart")
    validation = scan(lab, validation=True) if lab.subject.val_loader is not None else Scan()
    known = set(training.inputs)
    labels: dict[bytes, set[bytes]] = {}
    if len(training.targets) == len(training.inputs):
        for sample, label in zip(training.inputs, training.targets, strict=True):
            labels.setdefault(sample, set()).add(label)
    counts = Counter(training.inputs)
    return Repeats(
        training=len(training.inputs),
        validation=len(validation.inputs),
        shared=sum(sample in known for sample in validation.inputs),
        repeated=sum(count - 1 for count in counts.values()),
        twice=sum(count for count in counts.values() if count > 1),
        conflicts=sum(counts[sample] for sample, seen in labels.items() if len(seen) > 1),
        location=maker(lab, "val_data"),
    )
