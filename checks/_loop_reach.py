"""Rules of `train-step` on what is never reached, never called, or reached once only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from recipe_check.probes.loops import Event, Training

from ._loop_places import of_kinds, place
from ._loop_tree import Tree, called, number, trees
from .train_step import Slip

if TYPE_CHECKING:
    from recipe_check import Lab

_ONCE = ("iter", "zip", "enumerate", "map", "filter")  # what they return can be read once
_READS = ("enumerate", "tqdm", "trange")


def steps_never(loop: Training, lab: Lab) -> Iterator[Slip]:
    """Every step stands below a condition such as `i % n == n`."""
    steps = of_kinds(loop, "step")
    for event in steps:
        tree = next((t for t in trees(loop) if t.file == event.file), None)
        if tree is None or not event.guard or not _is_never(event.guard, tree):
            return
    if steps:
        yield Slip(
            "the optimizer never steps",
            f"optimizer.step() waits for `{steps[0].guard}`, which never holds: a remainder is "
            "smaller than what is divided by",
            "write (step + 1) % n == 0",
            place(_condition(loop, steps[0]) or steps[0]),
            certain=True,
        )


def _is_never(guard: str, tree: Tree) -> bool:
    """`a % n == m` (or `>=`) with m the same as n or a larger number."""
    try:
        test = ast.parse(guard, mode="eval").body
    except SyntaxError:
        return False
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return False
    left, right = test.left, test.comparators[0]
    if not (isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mod)):
        return False
    if not isinstance(test.ops[0], ast.Eq | ast.GtE):
        return False
    most, least = number(left.right, tree), number(right, tree)
    larger = most is not None and least is not None and least >= most > 0
    return larger or ast.unparse(left.right) == ast.unparse(right)


def _condition(loop: Training, step: Event) -> Event | None:
    """The `if` around a step, as a place."""
    for tree in trees(loop):
        node = tree.node(step) if tree.file == step.file else None
        around = tree.above(node) if node is not None else iter(())
        found = next((a for a in around if isinstance(a, ast.If)), None)
        if found is not None:
            return tree.event(found)
    return None


def ends_at_the_first_batch(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A `break` that no condition guards, left over from looking at one batch."""
    for tree, node in _in_epochs(loop):
        left = next((s for s in node.body if isinstance(s, ast.Break)), None)
        if left is not None:
            yield Slip(
                "every epoch ends after its first batch",
                "a `break` without a condition ends the loop over batches after the first: "
                "all other batches of the epoch are left out",
                "take the break out, or train for steps rather than epochs",
                place(tree.event(left)),
                certain=False,
            )


def reads_an_exhausted_iterator(loop: Training, lab: Lab) -> Iterator[Slip]:
    """`batches = iter(loader)` before the loop over epochs gives one epoch, then nothing."""
    for tree, node in _in_epochs(loop):
        made = _made_before(node, tree)
        if made is not None and not any(isinstance(n, ast.Break) for n in ast.walk(node)):
            yield Slip(
                "the batches are exhausted after the first epoch",
                f"`{ast.unparse(made)}` is made once, before the loop over epochs: an iterator "
                "is read once, and from the second epoch on there are no batches",
                "loop over the loader itself",
                place(tree.event(made)),
                certain=True,
            )


def _in_epochs(loop: Training) -> Iterator[tuple[Tree, ast.For]]:
    """The loop over batches, where one over epochs is around it."""
    if loop.epoch is None:
        return
    for tree in trees(loop):
        for node in tree.walk(ast.For):
            if isinstance(node, ast.For) and node.lineno == loop.batch.line:
                yield tree, node


def _made_before(node: ast.For, tree: Tree) -> ast.Assign | None:
    """The assignment of the iterator that a loop reads, outside of every loop around it."""
    read = node.iter
    while isinstance(read, ast.Call) and called(read) in _READS and read.args:
        read = read.args[0]
    if not isinstance(read, ast.Name):
        return None
    sets = [n for n in tree.walk(ast.Name) if isinstance(n, ast.Name) and n.id == read.id
            and isinstance(n.ctx, ast.Store)]  # fmt: skip
    made = [tree.parents.get(n) for n in sets]
    if len(made) != 1 or not isinstance(made[0], ast.Assign):
        return None
    assigned = made[0]
    once = isinstance(assigned.value, ast.GeneratorExp) or (
        isinstance(assigned.value, ast.Call) and ast.unparse(assigned.value.func) in _ONCE
    )
    around = set(tree.loops(node)) - set(tree.loops(assigned))
    return assigned if once and around and tree.function(assigned) is tree.function(node) else None


def schedules_before_the_epoch(loop: Training, lab: Lab) -> Iterator[Slip]:
    """scheduler.step() at the top of an epoch, before its batches."""
    if loop.epoch is None or any(e.kind == "schedule" for e in loop.batch.events()):
        return
    items = list(loop.epoch.body)
    before = items[: items.index(loop.batch)] if loop.batch in items else []
    found = [e for e in loop.epoch.events() if e.kind == "schedule"]
    if len(found) == 1 and found[0] in before and not found[0].guard and not _given(found[0].node):
        yield Slip(
            "the scheduler steps before the optimizer",
            "scheduler.step() runs at the top of every epoch, before its optimizer.step(): the "
            "first rate is skipped",
            "call scheduler.step() at the end of the epoch",
            place(found[0]),
            certain=False,
        )


def _given(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and bool(node.args or node.keywords)
