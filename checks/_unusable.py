"""Why the first training step raises, where it is the data: found by trying what would mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from recipe_check import Location, tree
from recipe_check.errors import UserCodeError

from ._blame import maker
from ._data_lines import CASTS, ENTRIES, first, nearest
from ._extent import length_line
from ._scan import Scan
from ._sources import chains
from .batch_contract import Problem

if TYPE_CHECKING:
    from recipe_check import Lab

Change = Callable[[torch.Tensor], torch.Tensor]
CHANNELS = (1, 3, 4)


def empty(lab: Lab, found: Scan) -> Problem | None:
    """A loader without a batch because `drop_last` drops the only one. Any other empty loader
    ends the run: there is nothing to say about it."""
    loader: Any = lab.subject.loader
    size = getattr(loader, "batch_size", None)
    if found.batches or not getattr(loader, "drop_last", False) or not isinstance(size, int):
        return None
    try:
        rows = len(loader.dataset)
    except (AttributeError, TypeError):
        return None
    if not 0 < rows < size:
        return None
    return Problem(
        f"the loader yields no batch: drop_last drops all {rows} samples, fewer than "
        f"batch_size={size}", "0 batches", "1 or more",
        "choose a smaller batch_size, or drop_last=False", certain=True,
        location=maker(lab, "data"),
    )  # fmt: skip


def unreadable(lab: Lab, found: Scan) -> Problem | None:
    """A loader that raises, most often for a length beyond what is stored."""
    error = found.raised
    if error is None:
        return None
    said = str(error).removeprefix("the data loader raised ")
    where = Location(file=error.file, line=error.line, source=error.source) if error.file else None
    beyond_end = "IndexError" in said or "KeyError" in said
    dataset = type(getattr(lab.subject.loader, "dataset", None)).__name__
    return Problem(
        f"the data loader raises: {said}"
        + (": __len__ gives more samples than there are" if beyond_end else ""),
        "raises", "batches", "return the number of stored samples in __len__" if beyond_end else
        "mend what is raised", certain=True,
        location=(length_line(lab, dataset) if beyond_end else None) or where,
    )  # fmt: skip


def beyond(lab: Lab, found: Scan) -> Problem | None:
    """A later batch with token ids that an embedding has no row for, tried out: 1 F, and only
    where the largest id is beyond the smallest embedding."""
    sizes = [m.num_embeddings for m in lab.subject.original.model.modules()
             if isinstance(m, nn.Embedding | nn.EmbeddingBag)]  # fmt: skip
    if lab.broken is not None or not sizes or found.extreme is None or found.highest < min(sizes):
        return None
    rig = lab.rig().train()
    try:
        rig.step(rig.put(found.extreme))
    except UserCodeError as error:
        return _outside(lab, found.extreme) if "index out of range" in str(error) else None
    return None


def unusable(lab: Lab) -> Problem | None:
    """What about the first batch makes a training step raise: token ids without a row in the
    embedding, or a dtype or shape whose change lets the same step run. Costs up to 8 F, and only
    where the step raises."""
    broken = lab.broken
    if broken is None:
        return None
    batch = lab.train_batches[0]
    outside = _outside(lab, batch) if "index out of range" in broken.message else None
    if outside is not None:
        return outside
    for side, said, change in _changes(lab, batch):
        if _runs(lab, batch, side, change):
            what = "targets" if side == "targets" else "inputs"
            error = broken.message.partition("raises: ")[2]
            return Problem(
                f"a training step raises ({error}); with the {what} {said} it runs",
                "raises", f"{what} {said}", f"yield the {what} {said}", certain=True,
                location=first(getattr(chains(lab), side), CASTS | ENTRIES)
                or nearest(lab, side),
            )  # fmt: skip
    return None


def _outside(lab: Lab, batch: Any) -> Problem | None:
    """Token ids that an embedding has no row for."""
    inputs = tree.leaves(lab.rig().split(batch).inputs)
    ids = [t for t in inputs if not t.is_floating_point() and not t.is_complex() and t.numel()]
    high = max((int(t.max()) for t in ids), default=-1)
    low = min((int(t.min()) for t in ids), default=0)
    for name, module in lab.subject.original.model.named_modules():
        small = isinstance(module, nn.Embedding | nn.EmbeddingBag)
        if small and (module.num_embeddings <= high or low < 0):
            where: Location | None = lab.subject.created.get(name)
            return Problem(
                f"token ids run from {low} to {high}, but the embedding `{name}` has "
                f"{module.num_embeddings} rows (ids 0 to {module.num_embeddings - 1}): the "
                "vocabulary is smaller than the ids",
                f"ids {low} to {high}", f"0 to {module.num_embeddings - 1}",
                f"make the embedding at least {high + 1} rows, or map unknown ids to one of its "
                "own", certain=True, location=where,
            )  # fmt: skip
    return None


def _changes(lab: Lab, batch: Any) -> Iterator[tuple[str, str, Change]]:
    """What could be wrong with this batch: the side, what it would be instead, and how."""
    parts = lab.rig().split(batch)
    targets, inputs = tree.leaves(parts.target), tree.leaves(parts.inputs)
    if len(targets) == 1:
        yield from (("targets", said, change) for said, change in _of_targets(targets[0]))
    if len(inputs) == 1:
        yield from (("inputs", said, change) for said, change in _of_inputs(inputs[0]))


def _of_targets(target: torch.Tensor) -> Iterator[tuple[str, Change]]:
    floats = target.is_floating_point()
    if floats and target.dtype != torch.float32:
        yield "as torch.float32", lambda t: t.float()
    if not floats:
        yield "as torch.float32", lambda t: t.float()
    if target.dtype != torch.int64 and bool((target == target.round()).all() if floats else True):
        yield "as torch.int64 class indices", lambda t: t.long()
    if target.ndim >= 2 and target.shape[-1] == 1:
        yield "without their last axis, as int64", lambda t: t.squeeze(-1).long()
    if target.ndim == 1:
        yield "of shape (batch, 1), as float32", lambda t: t.float().unsqueeze(1)
    if target.ndim == 2 and target.shape[1] > 1:
        yield "as class indices (argmax)", lambda t: t.argmax(1)


def _of_inputs(given: torch.Tensor) -> Iterator[tuple[str, Change]]:
    if given.dtype != torch.float32:
        yield "as torch.float32", lambda x: x.float()
    if given.dtype != torch.int64 and bool((given == given.round()).all()):
        yield "as torch.int64", lambda x: x.long()
    if given.ndim == 4 and given.shape[-1] in CHANNELS:
        yield (
            "with channels before height and width",
            lambda x: x.permute(0, 3, 1, 2).contiguous().float(),
        )
    if given.ndim == 3:
        yield "with a channel axis of one", lambda x: x.unsqueeze(1).float()
    if given.ndim >= 3:
        yield "flattened to (batch, features)", lambda x: x.flatten(1).float()


def _runs(lab: Lab, batch: Any, side: str, change: Change) -> bool:
    rig = lab.rig().train()
    parts = rig.split(batch)
    wanted = tree.leaves(parts.target if side == "targets" else parts.inputs)
    places = [i for i, leaf in enumerate(tree.leaves(batch)) if any(leaf is w for w in wanted)]
    try:
        changed = {p: change(tree.leaves(batch)[p]) for p in places}
        with lab.seeded():
            loss = rig.step(rig.put(tree.replace_leaves(batch, changed))).loss
            rig.backward(loss)
    except (UserCodeError, RuntimeError, TypeError):
        return False
    return bool(loss.isfinite())
