"""Rules of `train-step` on the autograd graph: kept alive, or run through twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recipe_check.probes.loops import Training

from ._loop_places import of_kinds, place
from ._loop_tree import Function, Tree, trees
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab

_CALLED = ("zero_grad", "backward", "step", "train", "eval")
_FREED = ("item", "detach", "float", "tolist", "numpy", "cpu", "no_grad")


def named_not_called(loop: Training, lab: Lab) -> Iterator[Slip]:
    """`optimizer.step` as a statement of its own does nothing."""
    for tree in trees(loop):
        for node in tree.walk(ast.Expr):
            value = node.value if isinstance(node, ast.Expr) else None
            if isinstance(value, ast.Attribute) and value.attr in _CALLED:
                yield Slip(
                    "a method is named, not called",
                    f"`{ast.unparse(value)}` stands there without parentheses: nothing is called",
                    f"write {ast.unparse(value)}()",
                    place(tree.event(value)),
                    certain=True,
                )


def keeps_graphs(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A sum of losses that are tensors holds on to the graph of every batch."""
    for tree in trees(loop):
        losses = _losses(tree)
        for node in tree.walk(ast.AugAssign):
            assert isinstance(node, ast.AugAssign)
            if not isinstance(node.op, ast.Add) or not tree.loops(node) or tree.quiet(node):
                continue
            total = ast.unparse(node.target)
            reaching = _reaching_backward(tree)
            if total in reaching or _is_part_of_a_loss(node, tree, reaching):
                continue
            if _is_loss(node.value, losses):
                yield Slip(
                    "a sum of losses keeps every graph alive",
                    f"`{total}` adds up losses with their autograd graphs: memory grows with "
                    "every batch",
                    "add loss.item(), or loss.detach()",
                    place(tree.event(node)),
                    certain=False,
                )


def _is_part_of_a_loss(node: ast.AST, tree: Tree, reaching: set[str]) -> bool:
    """Whether the sum is made in a function whose result is trained on."""
    around = tree.function(node)
    if not isinstance(around, Function):
        return False
    made = [tree.parents.get(call) for call in tree.calls(around.name)]
    names = {ast.unparse(t) for m in made if isinstance(m, ast.Assign) for t in m.targets}
    return bool(names & reaching) or "loss" in around.name or around.name == "forward"


def _losses(tree: Tree) -> tuple[set[str], set[str]]:
    """Names that have backward() called on them, and the functions that made their values."""
    names = {ast.unparse(c.func.value) for c in tree.calls("backward")
             if isinstance(c.func, ast.Attribute)}  # fmt: skip
    makers = {
        ast.unparse(node.value.func)
        for node in tree.walk(ast.Assign)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        and any(ast.unparse(t) in names for t in node.targets)
    }  # fmt: skip
    return names, makers


def _is_loss(value: ast.expr, losses: tuple[set[str], set[str]]) -> bool:
    """A loss, or the call that makes one, perhaps scaled, and with its graph."""
    text = ast.unparse(value)
    if any(f".{word}" in text or f"{word}(" in text for word in _FREED) or ".data" in text:
        return False
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult | ast.Div):
        return _is_loss(value.left, losses) or _is_loss(value.right, losses)
    if isinstance(value, ast.Call):
        return ast.unparse(value.func) in losses[1]
    return isinstance(value, ast.Name | ast.Attribute) and text in losses[0]


def _reaching_backward(tree: Tree) -> set[str]:
    """Names whose value, or what is computed from it, has backward() called on it."""
    found = {ast.unparse(n) for c in tree.calls("backward") for n in ast.walk(c)
             if isinstance(n, ast.Name | ast.Attribute)}  # fmt: skip
    for _ in range(3):
        for node in tree.walk(ast.Assign, ast.AugAssign):
            if isinstance(node, ast.Assign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(ast.unparse(t) in found for t in targets):
                    found |= {ast.unparse(n) for n in ast.walk(node.value)
                              if isinstance(n, ast.Name | ast.Attribute)}  # fmt: skip
    added = {
        ast.unparse(n.target) for n in tree.walk(ast.AugAssign) if isinstance(n, ast.AugAssign)
    }
    directly = {ast.unparse(c.func.value) for c in tree.calls("backward")
                if isinstance(c.func, ast.Attribute)}  # fmt: skip
    return found & added | directly


def backward_of_a_sum(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A loss that adds up over the batches and has backward() called at each of them."""
    for event in of_kinds(loop, "backward"):
        tree = next((t for t in trees(loop) if t.file == event.file), None)
        node = tree.node(event) if tree is not None else None
        around = tree.loops(node) if tree is not None and node is not None else []
        if tree is None or not around or event.guard:
            continue
        name = event.owner
        inside = [n for n in ast.walk(around[0]) if isinstance(n, ast.Assign | ast.AugAssign)]
        grows = [n for n in inside if adds_to(n, name)]
        own = {id(part) for n in grows for part in ast.walk(n)}
        reset = [
            n for n in ast.walk(around[0])
            if isinstance(n, ast.Name | ast.Attribute) and isinstance(n.ctx, ast.Store)
            and id(n) not in own and ast.unparse(n) == name
        ]  # fmt: skip
        if grows and not reset:
            yield Slip(
                "backward() runs through all earlier batches again",
                f"`{name}` adds up over the batches and backward() is called at each: earlier "
                "batches are counted again and again",
                "call backward() on the loss of this batch alone",
                place(tree.event(grows[0])),
                certain=True,
            )


def adds_to(node: ast.Assign | ast.AugAssign, name: str) -> bool:
    """`name += x` or `name = name + x`."""
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ast.Add) and ast.unparse(node.target) == name
    own = any(ast.unparse(t) == name for t in node.targets)
    value = node.value
    return own and isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) and name in (
        ast.unparse(value.left), ast.unparse(value.right)
    )  # fmt: skip
