"""Samples that are mixed with each other while their labels are not, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from recipe_check import Location
from recipe_check.probes.loops import user_files
from recipe_check.userframes import relative

from ._sources import chains
from .batch_contract import Problem

if TYPE_CHECKING:
    from recipe_check import Lab

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module


def unmixed_labels(lab: Lab) -> Problem | None:
    """`share * x + (1 - share) * x[order]` on the way to the inputs alone, and `share` and `order`
    are never used again: neither the labels nor the loss are mixed. No pass."""
    lines = {made.location.line for made in chains(lab).only("inputs")}
    for file in user_files(lab.subject.file):
        with suppress(OSError, SyntaxError, ValueError):
            text = file.read_text(encoding="utf-8")
            for mix, share in _mixes(ast.parse(text)):
                if mix.lineno not in lines:
                    continue
                return Problem(
                    "samples are mixed with others (mixup), and their labels are not: "
                    f"`{share}` is used for the inputs alone",
                    "mixed inputs, whole labels", "labels mixed by the same share",
                    f"mix the labels, too: {share} * y + (1 - {share}) * y[order], or the loss: "
                    f"{share} * loss(out, y) + (1 - {share}) * loss(out, y[order])",
                    certain=False,
                    location=Location(file=relative(str(file)), line=mix.lineno,
                                      source=text.splitlines()[mix.lineno - 1][:500]),
                )  # fmt: skip
    return None


def _mixes(module: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Mixtures of a tensor with its own rows whose share and order are used for nothing else."""
    parents = {c: n for n in ast.walk(module) for c in ast.iter_child_nodes(n)}
    sums = [n for n in ast.walk(module) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add)]
    split = [(n, _parts(n.left, n.right) or _parts(n.right, n.left)) for n in sums]
    found = [(n, part) for n, part in split if part is not None]
    for node, (share, orders) in found:
        scope = _scope(node, parents)
        twins = [n for n, part in found if part[0] == share and _scope(n, parents) is scope]
        if len(twins) == 1 and not _used_later(scope, node) & {share, *orders}:
            yield node, share


def _used_later(scope: ast.AST, node: ast.expr) -> set[str]:
    """Names that are read from this expression on, itself left out."""
    inside = set(map(id, ast.walk(node)))
    names = (n for n in ast.walk(scope) if isinstance(n, ast.Name) and id(n) not in inside)
    return {n.id for n in names if isinstance(n.ctx, ast.Load) and n.lineno >= node.lineno}


def _parts(first: ast.expr, second: ast.expr) -> tuple[str, set[str]] | None:
    """The share's name and those in the order, of `share * x` and `(1 - share) * x[order]`."""
    for share, one in _factors(first):
        for rest, other in _factors(second):
            same = isinstance(other, ast.Subscript) and ast.dump(other.value) == ast.dump(one)
            if isinstance(share, ast.Name) and same and _is_rest(rest, share.id):
                assert isinstance(other, ast.Subscript)
                names = (n for n in ast.walk(other.slice) if isinstance(n, ast.Name))
                return share.id, {n.id for n in names}
    return None


def _factors(node: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield node.left, node.right
        yield node.right, node.left


def _is_rest(node: ast.expr, share: str) -> bool:
    """`1 - share`."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Sub)
        and isinstance(node.left, ast.Constant)
        and node.left.value in (1, 1.0)
        and isinstance(node.right, ast.Name)
        and node.right.id == share
    )


def _scope(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST:
    while node in parents:
        node = parents[node]
        if isinstance(node, Scope):
            return node
    return node
