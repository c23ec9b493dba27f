"""The user's own training loop, read from the source without running it.

Loading a target runs no loop: what stands below `if __name__ == "__main__":` or in a function is
only there to be read. The reader walks the file in the order in which it would run, follows calls
of the user's own functions, and keeps what matters to training.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from recipe_check.probes.loop_calls import (
    Names,
    bindings,
    classify,
    defaults,
    imported,
    methods,
    text_of,
    without_graph,
)

DEEPEST = 6  # calls of functions that are followed
MOST_FILES = 30


@dataclass(frozen=True)
class Event:
    """One thing that the loop does: `kind` is zero, backward, step, schedule, clip, train, eval,
    assign, reset or forward (any other call); `owner` the object's text in the outermost caller's
    words."""

    kind: str
    owner: str
    file: Path
    line: int
    column: int
    guard: str = ""  # the condition under which it happens
    node: ast.AST = field(default_factory=ast.Pass, compare=False, repr=False)
    quiet: bool = False  # below torch.no_grad()


@dataclass(frozen=True)
class Loop:
    """A `for` or `while` with what it does, in order."""

    header: str  # "epoch in range(10)"
    count: int | None  # rounds, where it can be read
    line: int
    body: tuple[Event | Loop, ...]

    def events(self, *, nested: bool = True) -> Iterator[Event]:
        """What it does in one round; loops inside count once, unless left out."""
        for item in self.body:
            if isinstance(item, Event):
                yield item
            elif nested:
                yield from item.events()

    def kinds(self) -> set[str]:
        return {event.kind for event in self.events()}


@dataclass(frozen=True)
class Training:
    """A loop that trains, and the loop over epochs around it (None where there is none)."""

    batch: Loop
    epoch: Loop | None
    before: tuple[Event, ...] = ()  # what was done before the outermost of them, in order


@dataclass(frozen=True)
class _Scope:
    """Where the walk is: what parameters stand for, the condition, the functions above."""

    file: Path
    bound: Mapping[str, ast.expr]
    guard: str = ""
    above: tuple[str, ...] = ()
    quiet: bool = False


@dataclass
class Reader:
    """Reads files; `functions` are the user's own by name (those defined once)."""

    names: Names
    functions: dict[str, tuple[Path, ast.FunctionDef]] = field(default_factory=dict)
    methods: frozenset[str] = frozenset()  # those of them that stand in a class
    imported: frozenset[str] = frozenset()  # names that may stand for a module

    def statements(self, body: Sequence[ast.stmt], scope: _Scope) -> list[Event | Loop]:
        found: list[Event | Loop] = []
        for statement in body:
            found += self._statement(statement, scope)
        return found

    def _statement(self, node: ast.stmt, scope: _Scope) -> list[Event | Loop]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            return []
        if isinstance(node, ast.For | ast.While):
            return [self._loop(node, scope)]
        if isinstance(node, ast.If):
            inner = replace(scope, guard=text_of(node.test, scope.bound))
            main = "__name__" in inner.guard
            inside = self.statements(node.body, scope if main else inner)
            return self._expression(node.test, scope) + inside + self.statements(node.orelse, inner)
        if isinstance(node, ast.With):
            found = [e for item in node.items for e in self._expression(item.context_expr, scope)]
            inner = replace(
                scope, quiet=without_graph([i.context_expr for i in node.items], scope.quiet)
            )
            return found + self.statements(node.body, inner)
        if isinstance(node, ast.Try):
            return self.statements([*node.body, *node.orelse, *node.finalbody], scope)
        if isinstance(node, ast.Expr) and getattr(node.value, "attr", "") == "backward":
            return [self._event("backward", ast.unparse(node.value)[:-9], node.value, scope)]
        return self._expression(node, scope) + self._assigned(node, scope)

    def _assigned(self, node: ast.stmt, scope: _Scope) -> list[Event | Loop]:
        """`p.grad = None` clears; `model = build()` is kept under the name that it gives."""
        cleared = self.names.cleared(node, scope.bound)
        if cleared:
            return [self._event("zero", cleared, node, scope)]
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            return []
        named = [t for target in node.targets for t in getattr(target, "elts", [target])]
        return [self._event("assign", text_of(t, scope.bound), node, scope) for t in named]

    def _loop(self, node: ast.For | ast.While, scope: _Scope) -> Loop:
        if isinstance(node, ast.For):
            header = f"{ast.unparse(node.target)} in {text_of(node.iter, scope.bound)}"
            count = self.names.rounds(node.iter, scope.bound)
        else:
            header, count = text_of(node.test, scope.bound), None
        inner = replace(scope, guard="")
        return Loop(header, count, node.lineno, tuple(self.statements(node.body, inner)))

    def _expression(self, node: ast.AST, scope: _Scope) -> list[Event | Loop]:
        """Calls in the order in which they are made: arguments first."""
        found = [e for part in ast.iter_child_nodes(node) for e in self._expression(part, scope)]
        if isinstance(node, ast.Call):
            found += self._call(node, scope)
        return found

    def _call(self, node: ast.Call, scope: _Scope) -> list[Event | Loop]:
        kind, owner = classify(node, scope.bound, self.names)
        event = [self._event(kind, owner, node, scope)] if kind else []
        name = node.func.attr if isinstance(node.func, ast.Attribute) else text_of(node.func, {})
        follow = self.functions.get(name) if self._may_mean(node.func, name) else None
        closures = [a.id for a in node.args if isinstance(a, ast.Name) and a.id in self.functions]
        if follow is None and kind == "step" and closures:
            follow, name = self.functions[closures[0]], closures[0]
        if follow is None or name in scope.above or len(scope.above) >= DEEPEST:
            return list(event)
        file, function = follow
        quiet = without_graph(function.decorator_list, scope.quiet)
        bound = bindings(function, node, scope.bound)
        inner = _Scope(file, bound, scope.guard, (*scope.above, name), quiet)
        if _initialises(name) and node.args:
            event.append(self._event("reset", text_of(node.args[0], scope.bound), node, scope))
        return [*event, *self.statements(function.body, inner)]

    def _may_mean(self, called: ast.expr, name: str) -> bool:
        """Whether a call can be one of the user's function: `student.train()` is no call of their
        `train(model, loader)`."""
        if not isinstance(called, ast.Attribute) or name in self.methods:
            return True
        return ast.unparse(called.value).split(".")[0] in self.imported

    def _event(self, kind: str, owner: str, node: ast.expr | ast.stmt, scope: _Scope) -> Event:
        line, column = node.lineno, node.col_offset + 1
        return Event(kind, owner, scope.file, line, column, scope.guard, node, scope.quiet)


def _initialises(name: str) -> bool:
    return any(word in name.lower() for word in ("init", "reset")) and not name.startswith("__")


def user_files(file: Path | None) -> list[Path]:
    """The target and the modules beside it that it imported, at most thirty."""
    if file is None:
        return []
    root = os.path.realpath(file.parent) + os.sep
    loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    beside = sorted(
        os.path.realpath(name) for name in loaded
        if name and name.endswith(".py") and name.startswith((root, str(file.parent) + os.sep))
    )  # fmt: skip
    others = [Path(name) for name in dict.fromkeys(beside) if "site-packages" not in name]
    return [file, *(o for o in others if o != file.resolve())][:MOST_FILES]


def read_training(files: Sequence[Path]) -> list[Training]:
    """Every training loop that the first file runs, or that its functions would run."""
    trees = {file: tree for file in files if (tree := _parse(file)) is not None}
    if not files or files[0] not in trees:
        return []
    reader = Reader(Names.of(list(trees.values())))
    defined = [
        (node.name, file, node)
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    ]
    names = [name for name, _, _ in defined]
    reader.functions = {n: (f, node) for n, f, node in defined if names.count(n) == 1}
    reader.methods, reader.imported = methods(list(trees.values())), imported(list(trees.values()))
    found = _trainings(reader.statements(trees[files[0]].body, _Scope(files[0], {})), None)
    if not found:
        for _, file, node in defined:
            scope = _Scope(file, defaults(node), "", (node.name,))
            found += _trainings(reader.statements(node.body, scope), None)
    first: dict[int, Training] = {}
    for training in sorted(found, key=lambda t: t.epoch is None):
        first.setdefault(training.batch.line, training)
    return list(first.values())


def _parse(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None


def _trainings(
    items: Sequence[Event | Loop], around: Loop | None, before: tuple[Event, ...] = ()
) -> list[Training]:
    """The innermost loops that take optimizer steps; `before` is what was done before `around`."""
    found: list[Training] = []
    seen: list[Event] = []
    for item in items:
        if isinstance(item, Event):
            seen.append(item)
            continue
        inside = _trainings(item.body, item, (*before, *seen))
        kinds = item.kinds()
        trains = "backward" in kinds and bool({"step", "zero"} & kinds)
        if trains and not any("step" in t.batch.kinds() for t in inside):
            inside = [Training(item, around, before if around else tuple(seen))]
        found += inside
    return found
