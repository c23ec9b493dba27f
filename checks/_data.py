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

from ._blame import last_layer, maker, target_line, wrapped_line
from ._data_lines import (
    BINS,
    CASTS,
    SORTS,
    VALUES,
    first,
    nearest,
    not_finite,
    same_line,
    sampler_line,
    value_line,
)
from ._data_values import numbered_rows, used_up, went_round
from ._extent import extents
from ._leaks import copied_target
from ._mixup import unmixed_labels
from ._scan import Scan, scan
from ._sources import chains
from ._unusable import beyond, empty, unreadable, unusable
from .batch_contract import Batches, Problem
from .label_range import Labels
from .shuffling import Mixing

if TYPE_CHECKING:
    from recipe_check import Lab


def see_batches(lab: Lab) -> Batches:
    """What is wrong with the batches, worst first."""
    found = scan(lab)
    raised = unreadable(lab, found)
    if raised is not None:
        return Batches(found.batches, found.rows, found.first, (raised,))
    none = empty(lab, found)
    if none is not None:
        return Batches(0, 0, "", (none,))
    problems = []
    if found.broken:
        side = "inputs" if "in the input" in found.broken[0] else "targets"
        problems.append(
            Problem(
                f"{found.broken_rows} samples hold NaN or infinity, the first: {found.broken[0]}",
                f"{found.broken_rows} samples not finite", "0",
                "drop or impute missing values before the loader", certain=True,
                location=value_line(lab, side, not_finite),
            )
        )  # fmt: skip
    low, high = found.moments.low, found.moments.high
    flat = low is not None and high is not None and bool((low == high).all())
    if (len(set(found.inputs)) == 1 or flat) and found.rows >= 16:
        problems.append(
            Problem(
                "every sample has the same input", "1 distinct input", f"{found.rows}",
                "look at what the data set returns for different indices", certain=True,
                location=same_line(lab),
            )
        )  # fmt: skip
    if len(found.dtypes) > 1:
        kinds = ", ".join(sorted(found.dtypes))
        problems.append(
            Problem(f"the input's dtype changes between batches: {kinds}", kinds, "one dtype",
                    "convert in the data set", certain=False)
        )  # fmt: skip
    several = (
        unusable(lab),
        beyond(lab, found),
        _leftover(lab, found),
        copied_target(lab),
        numbered_rows(lab),
        _wrapped(lab) or went_round(lab),
        used_up(lab),
        unmixed_labels(lab),
    )
    problems += [problem for problem in several if problem is not None]
    problems += extents(lab, found)
    problems.sort(key=lambda problem: not problem.certain)
    return Batches(found.batches, found.rows, found.first, tuple(problems))


def _wrapped(lab: Lab) -> Problem | None:
    """Arithmetic on bytes that went round: only on the way to the inputs, for in labels it is a
    trick (0 - 1 = 255, which is ignored)."""
    where = wrapped_line(lab)
    if where is None:
        return None
    return Problem(
        "arithmetic on small integers (uint8) left their range on the way to the inputs: what is "
        "above 255 goes on from 0", "values that wrapped around", "none",
        "convert to float before arithmetic", certain=False, location=where,
    )  # fmt: skip


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
    found = target_line(lab, ARITHMETIC)
    if classes == 1 and sampler_line(lab) is not None:
        return sampler_line(lab)
    if classes == 1:
        return found or nearest(lab, "targets", BINS, CASTS)
    return found or nearest(lab, "targets", VALUES | CASTS)


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
    every = found.labels or found.one_hot
    whole = [labels for labels in every if len(labels) > 1]
    if len(whole) < 2 or sum(map(len, every)) != found.rows:
        raise NotApplicable("no class labels, one a sample, in batches of two or more")
    everything = torch.cat(whole)
    generator = torch.Generator().manual_seed(0)
    shuffled = everything[torch.randperm(len(everything), generator=generator)]
    random = list(torch.split(shuffled, [len(labels) for labels in whole]))
    where = maker(lab, "data") or first(chains(lab).targets, SORTS) or nearest(lab, "targets")
    return Mixing(len(whole), _mean_entropy(whole), _mean_entropy(random), where)


def _mean_entropy(batches: Sequence[torch.Tensor]) -> float:
    return sum(_entropy(labels) for labels in batches) / len(batches)


def _entropy(labels: torch.Tensor) -> float:
    counts = Counter(labels.tolist())
    shares = [count / len(labels) for count in counts.values()]
    return -sum(share * math.log(share) for share in shares)
