"""What a name stands for, read from the source: the statements that bound or changed it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
CHANGES = frozenset({"shuffle", "put", "copyto", "fill", "sort", "append", "extend", "reverse",
                     "insert", "update", "setdefault", "roll_", "random_shuffle", "fillna", "drop",
                     "clip_", "resize", "put_along_axis"})  # fmt: skip


@dataclass(frozen=True)
class Binding:
    """A statement that bound or changed a name: `value` is what it became, or was changed with."""

    statement: ast.stmt
    value: ast.expr
    whole: bool  # whether nothing is left of what the name was before


@dataclass(frozen=True)
class Source:
    """One file of the user's, with the parents of its nodes."""

    file: Path
    module: ast.Module

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {c: n for n in ast.walk(self.module) for c in ast.iter_child_nodes(n)}

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node in the order in which they stand in the file."""
        return sorted(ast.walk(self.module), key=lambda n: getattr(n, "lineno", 0))

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What stands around a node, the nearest first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The statement that a node is part of."""
        around = (node, *self.above(node))
        return next((n for n in around if isinstance(n, ast.stmt)), None)

    def scope(self, node: ast.AST) -> Scope:
        """The function around a node, else the module."""
        return next((n for n in self.above(node) if isinstance(n, Function)), self.module)

    def owner(self, node: ast.AST) -> ast.ClassDef | None:
        """The class around a node."""
        return next((n for n in self.above(node) if isinstance(n, ast.ClassDef)), None)

    def function(self, name: str) -> Function | None:
        """The function of this name that is no method."""
        found = (n for n in self.nodes if isinstance(n, Function) and n.name == name)
        return next((n for n in found if self.owner(n) is None), None)

    def kind(self, name: str) -> ast.ClassDef | None:
        """The class of this name."""
        return next((n for n in self.nodes if isinstance(n, ast.ClassDef) and n.name == name), None)

    def calls(self, name: str) -> list[ast.Call]:
        """Calls of a function or class by its bare name."""
        calls = (n for n in self.nodes if isinstance(n, ast.Call))
        return [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == name]

    def bound(self, name: str, at: ast.AST) -> list[Binding]:
        """Where a name was bound or changed before a node, the nearest first, back to the last
        statement that bound it whole. A dotted name is looked up in the whole class."""
        attribute = "." in name
        where: ast.AST = (self.owner(at) or self.module) if attribute else self.scope(at)
        line = getattr(self.statement(at), "lineno", 0)
        found: list[Binding] = []
        for node in reversed(self.nodes):
            late = node is self.statement(at) or (
                not attribute and getattr(node, "lineno", 0) > line
            )
            inside = self._inside(node, where, attribute) if isinstance(node, ast.stmt) else False
            if late or not inside:
                continue
            assert isinstance(node, ast.stmt)
            fresh = list(_bindings(node, name))
            found += fresh
            if not attribute and any(b.whole for b in fresh) and self.parents[node] is where:
                break
        return found

    def _inside(self, node: ast.stmt, where: ast.AST, attribute: bool) -> bool:
        return where in self.above(node) if attribute else self.scope(node) is where


def _bindings(node: ast.stmt, name: str) -> Iterator[Binding]:
    """What one statement does to a name."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _matched(node, target, node.value, name)
    elif isinstance(node, ast.AugAssign) and _base(node.target) == name:
        yield Binding(node, node.value, False)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from _matched(node, node.target, node.value, name)
    elif isinstance(node, ast.For):
        yield from _matched(node, node.target, node.iter, name)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from _changed(node, node.value, name)


def _matched(node: ast.stmt, target: ast.expr, value: ast.expr, name: str) -> Iterator[Binding]:
    """`a, b = c, d` binds each to its own; a part of a name that is set changes it."""
    if isinstance(target, ast.Tuple | ast.List):
        pairs = zip(target.elts, _split(value, len(target.elts)), strict=True)
        for part, own in pairs:
            yield from _matched(node, part, own, name)
    elif spelled(target) == name:
        yield Binding(node, value, not isinstance(node, ast.For))
    elif isinstance(target, ast.Subscript) and _base(target) == name:
        yield Binding(node, value, False)


def _split(value: ast.expr, count: int) -> list[ast.expr]:
    """The parts of what several names are set to: of a tuple, of a generator of it, or of zip."""
    if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == count:
        return list(value.elts)
    if isinstance(value, ast.Call) and spelled(value.func) == "zip" and len(value.args) == count:
        return list(value.args)
    return [value] * count


def _changed(node: ast.Expr, call: ast.Call, name: str) -> Iterator[Binding]:
    """`rng.shuffle(x)`, `x.sort()`, `rows.append(row)`, `x.mul_(2)`."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else spelled(call.func)
    if called not in CHANGES and not (called.endswith("_") and not called.endswith("__")):
        return
    given = [a for a in call.args if _base(a) == name]
    own = isinstance(call.func, ast.Attribute) and _base(call.func.value) == name
    if own and call.args and called in ("append", "extend", "insert"):
        yield Binding(node, call.args[-1], False)
    elif own or given:
        yield Binding(node, call, False)


def spelled(node: ast.AST) -> str:
    """`x` or `self.x`; nothing for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"self.{node.attr}" if node.value.id == "self" else ""
    return ""


def _base(node: ast.AST) -> str:
    """The name that `x[i].data[j]` is a part of."""
    while isinstance(node, ast.Subscript | ast.Attribute) and not spelled(node):
        node = node.value
    return spelled(node)
