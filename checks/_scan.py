"""One reading of the whole loader, shared by all data checks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import tree
from recipe_check.errors import UserCodeError
from recipe_check.guard import guarded

from ._moments import Moments
from ._windows import MOST_VALUES, pieces

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
    one_hot: list[torch.Tensor] = field(default_factory=list)  # classes of one-hot float targets
    width: int = 0  # of the one-hot targets
    inputs: list[bytes] = field(default_factory=list)
    targets: list[bytes] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    broken_rows: int = 0
    dtypes: set[str] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)
    moments: Moments = field(default_factory=Moments)
    target_moments: Moments = field(default_factory=Moments)
    last: Any = None  # the last batch
    highest: int = -1  # of integer inputs (token ids)
    extreme: Any = None  # the batch that holds it
    pieces: list[torch.Tensor] = field(default_factory=list)  # of series, see `_windows`
    middles: list[torch.Tensor] = field(default_factory=list)  # the middle one of each sample
    raised: UserCodeError | None = None  # by the loader, after what was read
    late: bool = False  # time was up before the loader ended


def scan(lab: Lab, *, validation: bool = False) -> Scan:
    """The scan of the training (or validation) loader; read once and cached."""
    loader = lab.subject.val_loader if validation else lab.subject.loader
    return lab.cached(("scan", validation), lambda: _scan(lab, () if loader is None else loader))


def _scan(lab: Lab, loader: Iterable[Any]) -> Scan:
    found, rig = Scan(), lab.rig()
    source = lab.train_batches if iter(loader) is loader else loader
    start = time.monotonic()
    try:
        with lab.seeded(), guarded("the data loader"):
            for batch in source:
                _read(found, rig, batch)
                found.late = time.monotonic() - start > SECONDS
                if found.late or found.batches >= MOST_BATCHES:
                    break
    except UserCodeError as error:
        found.raised = error
    return found


def _read(found: Scan, rig: Rig, batch: Any) -> None:
    parts = rig.split(batch)
    inputs, targets = _dense(parts.inputs), _dense(parts.target)
    found.batches += 1
    found.last = batch
    if inputs:
        found.first = found.first or _shape(inputs[0])
        found.dtypes.add(str(inputs[0].dtype).removeprefix("torch."))
    rows = len(inputs[0]) if inputs and inputs[0].ndim else 0
    found.rows += rows
    found.sizes.append(rows)
    for kind, leaves in (("input", inputs), ("target", targets)):
        for leaf in leaves:
            _check_finite(found, kind, leaf)
    if inputs:
        found.moments.add(inputs[0])
        _note_pieces(found, inputs[0])
        _note_highest(found, inputs, batch)
    if len(targets) == 1 and targets[0].is_floating_point():
        found.target_moments.add(targets[0])
    if len(targets) == 1 and targets[0].ndim and _is_whole(targets[0]):
        found.labels.append(targets[0].flatten().cpu())
    elif len(targets) == 1 and _is_one_hot(targets[0]):
        found.one_hot.append(targets[0].argmax(1).cpu())
        found.width = targets[0].shape[1]
    # where some have other lengths (edges beside nodes, time first) a row is no sample
    together = all(leaf.shape[0] == rows for leaf in (*inputs, *targets) if leaf.ndim)
    if rows and together and inputs[0].numel() // rows >= LEAST_NUMBERS:
        found.inputs += _hashes(inputs, rows)
        found.targets += _hashes(targets, rows)


def _dense(side: Any) -> list[torch.Tensor]:
    """The tensors that can be looked at as they are; an adjacency matrix is often sparse."""
    return [leaf for leaf in tree.leaves(side) if leaf.layout is torch.strided]


def _note_highest(found: Scan, inputs: Sequence[torch.Tensor], batch: Any) -> None:
    highest = max((int(t.max()) for t in inputs if t.numel() and _is_whole(t)), default=-1)
    if highest > found.highest:
        found.highest, found.extreme = highest, batch


def _note_pieces(found: Scan, leaf: torch.Tensor) -> None:
    if sum(piece.numel() for piece in found.pieces) < MOST_VALUES:
        every = pieces(leaf)
        if every.numel():
            found.pieces.append(every.flatten())
            found.middles.append(every[:, every.shape[1] // 2])


def _shape(leaf: torch.Tensor) -> str:
    return f"{tuple(leaf.shape)} {str(leaf.dtype).removeprefix('torch.')}"


def _is_whole(leaf: torch.Tensor) -> bool:
    return not leaf.is_floating_point() and not leaf.is_complex() and leaf.dtype != torch.bool


def _is_one_hot(leaf: torch.Tensor) -> bool:
    """[N, C] floats: a single one in every row, and zeros."""
    if not leaf.is_floating_point() or leaf.ndim != 2 or leaf.shape[1] < 2 or not len(leaf):
        return False
    return bool(((leaf == 0) | (leaf == 1)).all()) and bool((leaf.sum(1) == 1).all())


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
