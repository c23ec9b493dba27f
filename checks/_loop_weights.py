"""Rules of `train-step` on weights that a loop changes by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recipe_check.probes.loops import Training

from ._loop_places import of_kinds, place
from ._loop_tree import Tree, called, trees
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab


def rebinds_the_weights(loop: Training, lab: Lab) -> Iterator[Slip]:
    """`p = p - lr * p.grad` gives a new tensor a name; the model keeps the old one."""
    for tree, around, name in _over_parameters(loop):
        for number, node in enumerate(around.body):
            own = isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == name for t in node.targets
            )
            later = any(_reads(n, name) for n in around.body[number + 1 :])
            if own and isinstance(node, ast.Assign) and f"{name}.grad" in ast.unparse(node.value):
                if later:
                    continue
                yield Slip(
                    "the weights are never changed",
                    f"`{ast.unparse(node)}` makes a new tensor and leaves the model's weights as "
                    "they are",
                    f"change them in place, below torch.no_grad(): {name} -= lr * {name}.grad",
                    place(tree.event(node)),
                    certain=True,
                )


def climbs(loop: Training, lab: Lab) -> Iterator[Slip]:
    """Weights move along the gradient of what is called a loss, with no optimizer to turn it."""
    if of_kinds(loop, "step") or _is_turned(loop):
        return
    for tree, around, name in _over_parameters(loop):
        for node in ast.walk(around):
            if isinstance(node, ast.stmt | ast.Call) and _adds(node, name):
                yield Slip(
                    "the weights climb the gradient",
                    f"`{ast.unparse(node)}` adds the gradient to the weights: the loss rises",
                    f"subtract it: {name}.data.add_({name}.grad, alpha=-lr)",
                    place(tree.event(node)),
                    certain=False,
                )


def _over_parameters(loop: Training) -> Iterator[tuple[Tree, ast.For, str]]:
    """Loops over parameters within the training, and the name that each has."""
    for tree in trees(loop):
        for node in tree.walk(ast.For):
            if not isinstance(node, ast.For) or not _lists_parameters(node.iter):
                continue
            lines = [around.lineno for around in tree.loops(node)]
            if loop.batch.line in lines or not _has_loops(node, tree):
                for part in ast.walk(node.target):
                    if isinstance(part, ast.Name):
                        yield tree, node, part.id


def _lists_parameters(node: ast.expr) -> bool:
    calls = [c for c in ast.walk(node) if isinstance(c, ast.Call)]
    return any(called(c) in ("parameters", "named_parameters") for c in calls)


def _has_loops(node: ast.AST, tree: Tree) -> bool:
    """Whether it stands in a loop of its own function (a helper is called from the training)."""
    return bool(tree.loops(node)) or tree.function(node) is tree.module


def _reads(node: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)
               for n in ast.walk(node))  # fmt: skip


def _adds(node: ast.stmt | ast.Call, name: str) -> bool:
    """`p += lr * p.grad`, `p.data += …`, `p.data.add_(p.grad, alpha=lr)`, nothing negative."""
    places = (name, f"{name}.data")
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        own, value = ast.unparse(node.target) in places, [node.value]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        own = node.func.attr == "add_" and ast.unparse(node.func.value) in places
        value = [*node.args, *(k.value for k in node.keywords)]
    else:
        return False
    signed = any(isinstance(n, ast.USub | ast.Sub) for v in value for n in ast.walk(v))
    plain = all(isinstance(n, _PLAIN) for v in value for n in ast.walk(v))
    graded = any(f"{name}.grad" in ast.unparse(v) for v in value)
    return own and graded and plain and not signed


_PLAIN = (ast.Name, ast.Attribute, ast.Constant, ast.BinOp, ast.Mult, ast.Div, ast.Load)


def _is_turned(loop: Training) -> bool:
    """Whether what backward() is called on may be meant to rise: it is negated, or no loss."""
    for tree in trees(loop):
        names = {e.owner for e in of_kinds(loop, "backward")}
        if not all("loss" in name.lower() or "cost" in name.lower() for name in names):
            return True
        for node in tree.walk(ast.Assign):
            assert isinstance(node, ast.Assign)
            made = any(ast.unparse(t) in names for t in node.targets)
            if made and any(isinstance(n, ast.USub) for n in ast.walk(node.value)):
                return True
    return False
