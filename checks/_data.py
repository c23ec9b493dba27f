"""The measurements of the data checks: one reading of the whole loader, shared by all."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import NotApplicable, tree
from recipe_check.errors import UserCodeError
from recipe_check.probes.watch import LossObserver, Watch

from .batch_contract import Batches, Problem
from .duplicates import Repeats
from .label_range import Labels
from .shuffling import Mixing

if TYPE_CHECKING:
    from recipe_check import Lab, Rig

SECONDS = 20.0  # of reading, for each loader
MOST_BATCHES = 20_000  # an endless loader ends here
LEAST_NUMBERS = 8  # in an input, before equal ones count as the same sample


@dataclass
class Scan:
    """What one reading of a loader kept: labels by batch, a hash a sample, broken values."""

    batches: int = 0
    rows: int = 0
    first: str = ""
    labels: list[torch.Tensor] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    targets: list[bytes] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    broken_rows: int = 0
    dtypes: set[str] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)


def scan(lab: Lab, *, validation: bool = False) -> Scan:
    """The scan of the training (or validation) loader; read once and cached."""
    loader = lab.subject.val_loader if validation else lab.subject.loader
    return lab.cached(("scan", validation), lambda: _scan(lab, () if loader is None else loader))


def _scan(lab: Lab, loader: Iterable[Any]) -> Scan:
    found, rig = Scan(), lab.rig()
    source = lab.train_batches if iter(loader) is loader else loader
    start = time.monotonic()
    with lab.seeded():
        for batch in source:
            _read(found, rig, batch)
            late = time.monotonic() - start > SECONDS
            if late or found.batches >= MOST_BATCHES:
                break
    return found


def _read(found: Scan, rig: Rig, batch: Any) -> None:
    parts = rig.split(batch)
    inputs, targets = tree.leaves(parts.inputs), tree.leaves(parts.target)
    found.batches += 1
    if inputs:
        found.first = found.first or _shape(inputs[0])
        found.dtypes.add(str(inputs[0].dtype).removeprefix("torch."))
    rows = len(inputs[0]) if inputs and inputs[0].ndim else 0
    found.rows += rows
    found.sizes.append(rows)
    for kind, leaves in (("input", inputs), ("target", targets)):
        for leaf in leaves:
            _check_finite(found, kind, leaf)
    if len(targets) == 1 and targets[0].ndim and _is_whole(targets[0]):
        found.labels.append(targets[0].flatten().cpu())
    if rows and inputs[0].numel() // rows >= LEAST_NUMBERS:
        found.inputs += _hashes(inputs, rows)
        found.targets += _hashes(targets, rows)


def _shape(leaf: torch.Tensor) -> str:
    return f"{tuple(leaf.shape)} {str(leaf.dtype).removeprefix('torch.')}"


def _is_whole(leaf: torch.Tensor) -> bool:
    return not leaf.is_floating_point() and not leaf.is_complex() and leaf.dtype != torch.bool


def _check_finite(found: Scan, kind: str, leaf: torch.Tensor) -> None:
    if not leaf.is_floating_point() or bool(leaf.isfinite().all()):
        return
    bad = ~leaf.isfinite()
    found.broken_rows += int(bad.flatten(1).any(1).sum()) if leaf.ndim > 1 else int(bad.sum())
    what = "NaN" if bool(leaf.isnan().any()) else "infinity"
    found.broken.append(f"{what} in the {kind} of batch {found.batches}")


def _hashes(leaves: Sequence[torch.Tensor], rows: int) -> list[bytes]:
    whole = [leaf for leaf in leaves if leaf.ndim and leaf.shape[0] == rows]
    flat = [leaf.detach().cpu().contiguous().view(rows, -1) for leaf in whole]
    raw = [f.view(torch.uint8).numpy() if f.dtype != torch.bool else f.numpy() for f in flat]
    return [
        hashlib.blake2b(b"".join(r[i].tobytes() for r in raw), digest_size=16).digest()
        for i in range(rows)
    ]


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
    if len(set(found.inputs)) == 1 and found.rows >= 16:
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
    if found.sizes and found.sizes[-1] == 1 and max(found.sizes) > 1 and _normalises(lab):
        problems.append(
            Problem("the last batch has one sample, and batch normalisation cannot train on one",
                    "1 sample", "at least 2", "set drop_last=True", certain=False)
        )  # fmt: skip
    return Batches(found.batches, found.rows, found.first, tuple(problems))


def _normalises(lab: Lab) -> bool:
    kinds = (nn.BatchNorm1d,)
    return any(isinstance(module, kinds) for module in lab.subject.original.model.modules())


def see_labels(lab: Lab) -> Labels:
    """Labels against the outputs of the model, found without calling the loss on bad labels."""
    found = scan(lab)
    if not found.labels:
        raise NotApplicable("the targets are no class labels")
    outputs = _outputs(lab)
    labels = torch.cat(found.labels)
    labels = labels[labels != -100].long()
    if not labels.numel():
        raise NotApplicable("all labels are ignored (-100)")
    inside = labels[(labels >= 0) & (labels < outputs)]
    return Labels(
        low=int(labels.min()),
        high=int(labels.max()),
        outputs=outputs,
        outside=len(labels) - len(inside),
        counts=tuple(torch.bincount(inside, minlength=outputs).tolist()),
    )


def _outputs(lab: Lab) -> int:
    """Number of classes that the loss receives, on the CPU, with the labels all zero."""
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
    return int(terms[0].prediction.shape[1])


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
    return Mixing(len(whole), _mean_entropy(whole), _mean_entropy(random))


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
        conflicts=sum(counts[sample] for sample, seen in labels.items() if len(seen) > 1),
    )
