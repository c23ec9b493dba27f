"""Which of the user's lines to blame for what is wrong with data, weights or the optimizer."""

from __future__ import annotations

import ast
import linecache
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, tree
from recipe_check.lab import preserved_rng
from recipe_check.lineage import blamed, frozen_at, made_at, steps_recorded
from recipe_check.probes.loops import user_files
from recipe_check.userframes import relative

if TYPE_CHECKING:
    from recipe_check import Lab

__all__ = ["called", "frozen_at", "input_line", "last_layer", "maker", "target_line", "value_line"]


def maker(lab: Lab, role: str) -> Location | None:
    """The line that made the `loss`, `optimizer`, `scheduler`, `data` or `val_data`."""
    subject = lab.subject
    values = {"data": subject.loader, "val_data": subject.val_loader}
    return made_at(values[role] if role in values else getattr(subject.original, role))


def input_line(lab: Lab, ops: frozenset[str]) -> Location | None:
    """The last operation of this kind on the way to the inputs of a sample."""
    return next((w for t in _sample(lab)[0] if (w := blamed(t, ops)) is not None), None)


def target_line(lab: Lab, ops: frozenset[str]) -> Location | None:
    """Likewise for the target."""
    return next((w for t in _sample(lab)[1] if (w := blamed(t, ops)) is not None), None)


def value_line(tensor: torch.Tensor | None, ops: frozenset[str]) -> Location | None:
    """The last operation of this kind on the way to a tensor of the user's own objects."""
    return blamed(tensor, ops)


def last_layer(lab: Lab) -> Location | None:
    """The line that made the last layer with a weight."""
    model = lab.subject.original.model
    names = [n.removesuffix(".weight") for n, p in model.named_parameters()
             if n.endswith("weight") and p.ndim >= 2]  # fmt: skip
    return lab.subject.created.get(names[-1]) if names else None


def called(lab: Lab, name: str) -> Location | None:
    """The first call of a function of this name in the user's files."""
    for file in user_files(lab.subject.file):
        try:
            nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] == name:
                source = linecache.getline(str(file), node.lineno).rstrip("\n")
                return Location(
                    file=relative(str(file)), line=node.lineno, column=node.col_offset + 1,
                    source=source[:500], op=name,
                )  # fmt: skip
    return None


def _sample(lab: Lab) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Inputs and targets of one sample, fetched while operations are noted; of the first batch
    where the loader has no data set."""
    return lab.cached("blamed-sample", lambda: _fetch(lab))


def _fetch(lab: Lab) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    loader = lab.subject.loader
    dataset: Any = getattr(loader, "dataset", None)
    item: Any = None
    if isinstance(loader, list | tuple) and loader:
        item = loader[0]
    elif hasattr(dataset, "__getitem__"):
        with preserved_rng(), steps_recorded():
            try:
                item = dataset[0]
            except Exception:
                return [], []
    parts = lab.rig().split(item)
    return tree.leaves(parts.inputs), tree.leaves(parts.target)
