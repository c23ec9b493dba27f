"""Which of the user's lines to blame for what is wrong with data, weights or the optimizer."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from recipe_check import Location, tree
from recipe_check.lab import preserved_rng, seed_everything
from recipe_check.lineage import blamed, drawn_apart, frozen_at, made_at, steps_recorded, wrapped_at
from recipe_check.probes.loops import user_files
from recipe_check.userframes import relative

if TYPE_CHECKING:
    from recipe_check import Lab

FETCHES = 12

_SWITCHES = ("no_grad", "inference_mode", "set_grad_enabled")

__all__ = ["assigned", "called", "frozen_at", "input_line", "last_layer", "maker",
           "placeholder_line", "switched_off", "target_line", "value_line"]  # fmt: skip


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


def placeholder_line(lab: Lab) -> Location | None:
    """Where targets are drawn that have nothing to do with the inputs, which are drawn, too."""
    inputs, targets = lab.cached(("blamed", 0), partial(_fetch, lab, 0))
    return drawn_apart(inputs[0], targets[0]) if inputs and targets else None


def wrapped_line(lab: Lab) -> Location | None:
    """Where small integers left their range on the way to the inputs of a sample."""
    leaves = lab.cached(("blamed", 0), partial(_fetch, lab, 0))[0]
    return next((w for t in leaves if (w := wrapped_at(t)) is not None), None)


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
    for file, nodes in _sources(lab):
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] == name:
                return _place(file, node.lineno, name, node.col_offset + 1)
    return None


def switched_off(lab: Lab, place: Location | None) -> Location | None:
    """The `with torch.no_grad()`, or the decorator, around a line; None where there is none."""
    best: tuple[int, Location] | None = None
    for file, node in _nodes_of(lab, place):
        if isinstance(node, ast.With):
            switches: list[ast.expr] = [item.context_expr for item in node.items]
        elif isinstance(node, ast.FunctionDef):
            switches = node.decorator_list
        else:
            continue
        line = place.line if place is not None else 0
        for switch in switches:
            inside = switch.lineno <= line <= (node.end_lineno or 0)
            off = any(name in ast.unparse(switch) for name in _SWITCHES)
            if off and inside and (best is None or switch.lineno > best[0]):
                best = (switch.lineno, _place(file, switch.lineno, "no_grad"))
    return best[1] if best else None


def assigned(lab: Lab, place: Location | None) -> Location | None:
    """Where the attribute of `self` that a line computes with was set, if it is exactly one."""
    found = list(_nodes_of(lab, place))
    here = [n for _, n in found if place is not None and getattr(n, "lineno", 0) == place.line]
    called = {ast.unparse(n.func) for n in here if isinstance(n, ast.Call)}
    attributes = [n for n in here if isinstance(n, ast.Attribute)]
    used = {ast.unparse(n) for n in attributes if ast.unparse(n.value) == "self"} - called
    for file, node in found if len(used) == 1 else ():
        if isinstance(node, ast.Assign) and any(ast.unparse(t) in used for t in node.targets):
            return _place(file, node.lineno, "=")
    return None


def _sources(lab: Lab) -> Iterator[tuple[Path, list[ast.AST]]]:
    """The user's files with the nodes of their syntax trees."""
    for file in user_files(lab.subject.file):
        with suppress(OSError, SyntaxError, ValueError):
            yield file, list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def _nodes_of(lab: Lab, place: Location | None) -> Iterator[tuple[Path, ast.AST]]:
    """The nodes of the file that a location lies in."""
    for file, nodes in _sources(lab):
        if place is not None and relative(str(file)) == place.file:
            yield from ((file, node) for node in nodes)


def _place(file: Path, line: int, op: str, column: int | None = None) -> Location:
    source = linecache.getline(str(file), line).rstrip("\n")[:500]
    return Location(file=relative(str(file)), line=line, column=column, source=source, op=op)


def stated(lab: Lab, *words: str) -> Location | None:
    """The first assignment or call that stands alone and holds all the words."""
    for file in user_files(lab.subject.file):
        try:
            nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
                text = ast.unparse(node)
                if all(word in text for word in words):
                    source = linecache.getline(str(file), node.lineno).rstrip("\n")
                    return Location(
                        file=relative(str(file)), line=node.lineno, column=node.col_offset + 1,
                        source=source[:500],
                    )  # fmt: skip
    return None


def sets_rate(lab: Lab) -> bool:
    """Whether a line of the user's files sets a rate by hand."""
    setting = re.compile(r"""\[["']lr["']\]\s*[-+*/]?=(?!=)""")
    return any(setting.search(file.read_text()) for file in user_files(lab.subject.file))


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
