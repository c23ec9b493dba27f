"""Which of the user's lines to blame for what is wrong with data, weights or the optimizer."""

from __future__ import annotations

import ast
import linecache
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, tree
from recipe_check.lab import preserved_rng, seed_everything
from recipe_check.lineage import blamed, frozen_at, made_at, steps_recorded
from recipe_check.probes.loops import user_files
from recipe_check.userframes import relative

if TYPE_CHECKING:
    from recipe_check import Lab

FETCHES = 12

__all__ = ["called", "frozen_at", "input_line", "last_layer", "maker", "target_line", "value_line"]


def maker(lab: Lab, role: str) -> Location | None:
    """The line that made the `loss`, `optimizer`, `scheduler`, `data` or `val_data`."""
    subject = lab.subject
    values = {"data": subject.loader, "val_data": subject.val_loader}
    return made_at(values[role] if role in values else getattr(subject.original, role))


def input_line(lab: Lab, ops: frozenset[str]) -> Location | None:
    """The last operation of this kind on the way to the inputs of a sample."""
    return _line(lab, ops, 0)


def target_line(lab: Lab, ops: frozenset[str]) -> Location | None:
    """Likewise for the target."""
    return _line(lab, ops, 1)


def _line(lab: Lab, ops: frozenset[str], side: int) -> Location | None:
    """Looks at a few samples: not each takes every branch of the data set."""
    for number in range(FETCHES):
        leaves = lab.cached(("blamed", number), partial(_fetch, lab, number))[side]
        found = next((w for t in leaves if (w := blamed(t, ops)) is not None), None)
        if found is not None or not leaves:
            return found
    return None


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


def _fetch(lab: Lab, number: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Inputs and targets of one sample, fetched while operations are noted; of a batch where the
    loader is a list; empty where there is no such sample."""
    loader: Any = lab.subject.loader
    source: Any = loader if isinstance(loader, list | tuple) else getattr(loader, "dataset", None)
    if not hasattr(source, "__getitem__"):
        return [], []
    with preserved_rng(), steps_recorded():
        seed_everything(lab.seed + number)
        try:
            parts = lab.rig().split(source[number])
        except Exception:
            return [], []
    return tree.leaves(parts.inputs), tree.leaves(parts.target)
