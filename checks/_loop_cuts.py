"""Rules of `train-step` on a graph that does not reach the weights."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recipe_check.probes.loops import Event, Training

from ._loop_graph import adds_to
from ._loop_places import learns, of_kinds, place
from ._loop_tree import Tree, trees
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab

_REBUILT = ("torch.tensor", "torch.Tensor", "torch.FloatTensor", "torch.as_tensor", "Variable",
            "autograd.Variable", "torch.autograd.Variable", "torch.from_numpy")  # fmt: skip


def rebuilds_the_loss(loop: Training, lab: Lab) -> Iterator[Slip]:
    """backward() on a new tensor with the loss's value reaches no weight."""
    owners = {e.owner for e in of_kinds(loop, "backward")}
    for tree in trees(loop):
        for node in tree.walk(ast.Assign):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
                continue
            made, text = ast.unparse(node.value.func), ast.unparse(node.value)
            if not any(ast.unparse(t) in owners for t in node.targets) or not tree.loops(node):
                continue
            copied = made in _REBUILT and node.value.args and not _goes_on(node, tree)
            given = ast.unparse(node.value.args[0]) if node.value.args else ""
            if made.endswith("as_tensor") and not _leaves_torch(given):
                continue  # a tensor stays what it is
            if copied or (text.endswith(".requires_grad_()") and _leaves_torch(text)):
                yield Slip(
                    "the loss is cut off from the model",
                    f"`{text[:60]}` is a new leaf: backward() reaches no weight",
                    "call backward() on what the loss function returned",
                    place(tree.event(node)),
                    certain=made in _REBUILT,
                )


def _leaves_torch(text: str) -> bool:
    """Whether a value is taken out of the graph on the way."""
    return any(f".{word}(" in text for word in ("item", "detach", "numpy", "tolist")) or (
        ".data" in text or text.startswith(_REBUILT)
    )


def _goes_on(node: ast.Assign, tree: Tree) -> bool:
    """Whether what is assigned is a constant to start from, or something is added to it later."""
    if isinstance(node.value, ast.Call) and isinstance(node.value.args[0], ast.Constant):
        return True
    name = ast.unparse(node.targets[0])
    later = (n for n in ast.walk(tree.loops(node)[0]) if isinstance(n, ast.Assign | ast.AugAssign))
    return any(adds_to(n, name) for n in later)


def trains_without_graph(loop: Training, lab: Lab) -> Iterator[Slip]:
    """The model that is trained only runs below no_grad, or gradients are switched off for good."""
    if not of_kinds(loop, "backward"):
        return
    names = _trained(loop)
    mine = [e for e in of_kinds(loop, "forward") if e.owner in names and learns(loop, e.owner)]
    losses = {e.owner for e in of_kinds(loop, "backward")}
    if mine and all(e.quiet and _feeds_a_loss(e, losses, loop) for e in mine):
        yield Slip(
            "the forward pass keeps no graph",
            f"`{mine[0].owner}` runs below torch.no_grad() in the training loop: no gradient "
            "reaches it",
            "take the training's forward pass out of no_grad()",
            place(mine[0]),
            certain=True,
        )
    for tree in trees(loop):
        switches = [c for c in tree.calls("set_grad_enabled")
                    if isinstance(tree.parents[c], ast.Expr) and c.args]  # fmt: skip
        off = [c for c in switches if ast.unparse(c.args[0]) == "False"]
        if off and len(off) == len(switches) and tree.function(off[0]) is not tree.module:
            yield Slip(
                "gradients are switched off and never on again",
                "torch.set_grad_enabled(False) stays in force for the training after it",
                "use `with torch.no_grad():` around the evaluation",
                place(tree.event(off[0])),
                certain=True,
            )


def _feeds_a_loss(event: Event, losses: set[str], loop: Training) -> bool:
    """Whether what a call returns goes into what backward() is called on."""
    for tree in trees(loop):
        node = tree.node(event) if tree.file == event.file else None
        around = tree.above(node) if node is not None else iter(())
        made = next((a for a in around if isinstance(a, ast.Assign)), None)
        if made is None:
            continue
        uses = [n for n in tree.walk(ast.Assign) if isinstance(n, ast.Assign)
                and losses & {ast.unparse(t) for t in n.targets}]  # fmt: skip
        read = {ast.unparse(n) for use in uses for n in ast.walk(use.value)
                if isinstance(n, ast.Name | ast.Attribute)}  # fmt: skip
        if {ast.unparse(t) for t in made.targets} & (losses | read):
            return True
    return False


def _trained(loop: Training) -> set[str]:
    """Names whose parameters go to an optimizer or that are put into train mode."""
    found = {e.owner for e in (loop.epoch or loop.batch).events() if e.kind == "train"}
    for tree in trees(loop):
        for call in (*tree.calls("parameters"), *tree.calls("named_parameters")):
            if isinstance(call.func, ast.Attribute):
                found.add(ast.unparse(call.func.value))
    return found
