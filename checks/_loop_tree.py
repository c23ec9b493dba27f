"""The syntax trees behind a training loop, with parents: for rules that ask what stands around."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from recipe_check.probes.loop_calls import without_graph
from recipe_check.probes.loops import Event, Training

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Tree:
    """One file of the user's."""

    file: Path
    module: ast.Module
    parents: dict[ast.AST, ast.AST]

    def walk(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        """Every node of these kinds."""
        return (node for node in self.parents if isinstance(node, kinds))

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What stands around a node, the nearest first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def function(self, node: ast.AST) -> ast.AST:
        """The function around a node, else the module."""
        return next((a for a in self.above(node) if isinstance(a, Function)), self.module)

    def loops(self, node: ast.AST) -> list[ast.For | ast.While]:
        """The loops around a node within its function, the innermost first."""
        found: list[ast.For | ast.While] = []
        for around in self.above(node):
            if isinstance(around, Function):
                break
            if isinstance(around, ast.For | ast.While):
                found.append(around)
        return found

    def quiet(self, node: ast.AST, depth: int = 4) -> bool:
        """Whether a node runs without an autograd graph: below no_grad, or in a function that is
        decorated so, or called nowhere else (`depth` functions up)."""
        for around in self.above(node):
            managers = (
                [i.context_expr for i in around.items] if isinstance(around, ast.With) else []
            )
            if isinstance(around, Function):
                managers = around.decorator_list
            if without_graph(managers, False):
                return True
            if isinstance(around, Function):
                calls = [c for c in self.calls(around.name) if around not in self.above(c)]
                return bool(calls) and depth > 0 and all(self.quiet(c, depth - 1) for c in calls)
        return False

    def calls(self, name: str) -> list[ast.Call]:
        """Calls of a function or method of this name."""
        return [n for n in self.walk(ast.Call) if isinstance(n, ast.Call) and called(n) == name]

    def node(self, event: Event) -> ast.AST | None:
        """The node of this tree that an event stands for."""
        kind, line, column = type(event.node), event.line, event.column - 1
        same = (n for n in self.walk(kind) if (getattr(n, "lineno", 0), getattr(n, "col_offset", 0))
                == (line, column))  # fmt: skip
        return next(same, None)

    def event(self, node: ast.AST) -> Event:
        """A node as a place."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        return Event("", "", self.file, line, column + 1)


def called(call: ast.Call) -> str:
    """The last part of what is called: `backward` of `loss.backward()`."""
    return ast.unparse(call.func).rsplit(".", 1)[-1]


def trees(loop: Training) -> list[Tree]:
    """The files in which the loop and what is around it stands."""
    events = [*loop.batch.events(), *(loop.epoch.events() if loop.epoch else ()), *loop.before]
    files = dict.fromkeys(event.file for event in events)
    return [_tree(file, file.stat().st_mtime_ns) for file in files]


@lru_cache(maxsize=32)
def _tree(file: Path, _changed: int) -> Tree:
    module = ast.parse(file.read_text(encoding="utf-8"))
    parents = {
        child: node for node in ast.walk(module) for child in ast.iter_child_nodes(node)
    }  # fmt: skip
    return Tree(file, module, parents)


def number(node: ast.expr, tree: Tree) -> float | None:
    """The value of a constant, or of a name that is set to one number wherever it is set."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number(node.operand, tree)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant):
        return _constant(node)
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        values = {v for v in _values(name, tree) if v is not None}
        return values.pop() if len(values) == 1 else None
    return None


def _values(name: str, tree: Tree) -> Iterator[float | None]:
    """What a name is set to: by assignments, defaults of functions and command line options."""
    for node in tree.walk(ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.Call):
        if isinstance(node, ast.Assign):
            if any(ast.unparse(t).rsplit(".", 1)[-1] == name for t in node.targets):
                yield _constant(node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            if ast.unparse(node.target) == name:
                yield _constant(node.value)
        elif isinstance(node, ast.FunctionDef):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
            values = node.args.defaults
            pairs = zip(names[len(names) - len(values) :], values, strict=True)
            yield from (_constant(value) for n, value in pairs if n == name)
        elif isinstance(node, ast.Call) and called(node) == "add_argument":
            flags = [str(a.value).lstrip("-").replace("-", "_") for a in node.args
                     if isinstance(a, ast.Constant)]  # fmt: skip
            if name in flags:
                yield from (_constant(k.value) for k in node.keywords if k.arg == "default")


def _constant(node: ast.expr) -> float | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError):
        return None
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else None
