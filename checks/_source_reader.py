"""Follows the source backwards from a data loader to how inputs and targets were made."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recipe_check import Location
from recipe_check.userframes import relative

from . import _expressions
from ._bindings import Binding, Function, Source, spelled
from ._expressions import called, collate_first, of_mapping, operations

DEEPEST = 60  # statements that are followed back
PAIRED = ("TensorDataset", "zip")


@dataclass(frozen=True)
class Made:
    """One step on the way to inputs or targets: its line and the operations of its expression."""

    location: Location
    ops: frozenset[str]
    name: str = ""  # what the statement bound
    names: frozenset[str] = frozenset()  # bare names in the expression
    scaled: frozenset[tuple[str, str]] = frozenset()  # (a, b) of each (… - a) / b


@dataclass(frozen=True)
class Chains:
    """Steps to inputs and targets, the nearest to the loader first, and to what its sampler and
    (`route`) data set were made of; `index`: does `__getitem__` use its index for the inputs?"""

    inputs: tuple[Made, ...] = ()
    targets: tuple[Made, ...] = ()
    sampler: tuple[Made, ...] = ()
    route: tuple[Made, ...] = ()
    index: bool | None = None
    elsewhere: Location | None = None  # a target looked up by another index than the inputs

    def only(self, mine: str) -> list[Made]:
        """Steps of one side alone: both may stand in one statement, which treats them alike."""
        one, other = self.inputs, self.targets
        if mine == "targets":
            one, other = other, one
        lines = {(made.location.file, made.location.line) for made in other}
        return [m for m in one if (m.location.file, m.location.line) not in lines]


class Reader:
    """Follows expressions backwards in one file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.index: bool | None = None
        self.elsewhere: Location | None = None
        self.route: list[ast.expr] = []  # what the loader was made of, down to the data set
        self.entered: dict[ast.AST, ast.Call] = {}  # the call by which a function was reached

    def read(self, start: ast.expr) -> Chains:
        pairs = list(self.pairs(start, 0))
        inputs = self.follow([x for x, _ in pairs])
        targets = self.follow([y for _, y in pairs])
        sampler = self.follow(list(self._sampled(start, 0)))
        route = [self._made(node) for node in self.route]
        return Chains(tuple(inputs), tuple(targets), tuple(sampler), tuple(route), self.index,
                      self.elsewhere)  # fmt: skip

    def _made(self, node: ast.expr) -> Made:
        return Made(self._place(node, self.source.statement(node) or node), operations(node))

    def _sampled(self, node: ast.expr, depth: int) -> Iterator[ast.expr]:
        """What the sampler of a loader, or a Subset, was made of."""
        if isinstance(node, ast.Call) and depth < 6:
            named = [k.value for k in node.keywords if k.arg in ("sampler", "batch_sampler")]
            for given in [*named, *node.args[:1]] if called(node) == "DataLoader" else named:
                yield from self._sampled(given, depth + 1)
            if "Sampler" in called(node) and node.args:
                yield node.args[0]
            elif called(node) == "Subset" and len(node.args) > 1:
                yield node.args[1]
        elif spelled(node) and depth < 6:
            for binding in self.source.bound(spelled(node), node):
                yield from self._sampled(binding.value, depth + 1)

    def pairs(self, node: ast.expr, depth: int) -> Iterator[tuple[ast.expr, ast.expr]]:
        """The expressions of inputs and target in what makes samples or batches, nearest first."""
        if depth > 8:
            return
        if isinstance(node, ast.Tuple | ast.List) and len(node.elts) >= 2:
            yield node.elts[0], node.elts[-1]
        elif isinstance(node, ast.Dict):
            yield from of_mapping(node)
        elif isinstance(node, ast.ListComp | ast.GeneratorExp):
            yield from self.pairs(node.elt, depth + 1)
        elif isinstance(node, ast.Call):
            yield from self._of_call(node, depth + 1)
        elif isinstance(node, ast.Subscript):
            yield from self.pairs(node.value, depth + 1)
        elif spelled(node):
            for binding in self.source.bound(spelled(node), node) or self._outside(node):
                self.route.append(binding.value)
                yield from self.pairs(binding.value, depth + 1)

    def _of_call(self, node: ast.Call, depth: int) -> Iterator[tuple[ast.expr, ast.expr]]:
        self.route.append(node)
        name = called(node)
        if name in PAIRED and len(node.args) >= 2:
            yield node.args[0], node.args[-1]
            return
        own = self.source.kind(name)
        function = self.source.function(name)
        if own is not None:
            self.entered[own] = node
            methods = [n for n in own.body if isinstance(n, Function)]
            for method in methods:
                if method.name in ("__getitem__", "__iter__", "__next__"):
                    for x, y in self._of_function(method, depth):
                        self._note_index(method, x)
                        self._note_lookups(method, x, y)
                        yield x, y
        elif function is not None:
            self.entered[function] = node
            yield from self._of_function(function, depth)
        else:
            for given in collate_first(node):
                target = self.source.function(spelled(given))
                if target is not None:
                    yield from self._of_function(target, depth)
                yield from self.pairs(given, depth)

    def _of_function(self, node: Function, depth: int) -> Iterator[tuple[ast.expr, ast.expr]]:
        for inner in ast.walk(node):
            made = inner.value if isinstance(inner, ast.Return | ast.Yield) else None
            if made is not None and self.source.scope(inner) is node:
                yield from self.pairs(made, depth)

    def _note_lookups(self, method: Function, x: ast.expr, y: ast.expr) -> None:
        """A target that is looked up by another expression of the index than the inputs are."""
        if method.name != "__getitem__" or len(method.args.args) < 2:
            return
        inputs, targets = (
            {ast.unparse(n.slice): n for n in self._lookups(method, side)} for side in (x, y)
        )
        other = [node for text, node in targets.items() if text not in inputs]
        if inputs and targets and len(other) == len(targets):
            place = self._place(other[0], self.source.statement(other[0]) or other[0])
            self.elsewhere = self.elsewhere or place

    def _lookups(self, method: Function, side: ast.expr) -> Iterator[ast.Subscript]:
        """Look-ups by the asked index, in an expression and in the locals it is made of."""
        index = method.args.args[1].arg
        for node in self._locals(method, side):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Subscript) and index in _expressions.names_in(inner.slice):
                    yield inner

    def _locals(self, method: Function, side: ast.expr) -> Iterator[ast.expr]:
        """An expression, and those that the locals in it were set to."""
        waiting, seen = [side], set[ast.AST]()
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            yield node
            for name in _expressions.names_in(node):
                waiting += [b.value for b in self.source.bound(name, node)
                            if self.source.scope(b.statement) is method]  # fmt: skip

    def _note_index(self, method: Function, x: ast.expr) -> None:
        """Whether the inputs of a sample depend on the index that was asked for."""
        if method.name != "__getitem__" or len(method.args.args) < 2:
            return
        index = method.args.args[1].arg
        self.index = self.index or any(
            index in _expressions.names_in(n) for n in self._locals(method, x)
        )

    def follow(self, starts: Sequence[ast.expr]) -> list[Made]:
        """Breadth first, each expression once."""
        waiting: list[tuple[ast.expr, str, ast.AST]] = [(s, "", s) for s in starts]
        found: list[Made] = []
        seen: set[ast.AST] = set()
        while waiting and len(found) < DEEPEST:
            node, name, statement = waiting.pop(0)
            if node in seen:
                continue
            seen.add(node)
            names = frozenset(_expressions.names_in(node))
            ops = operations(node, statement)
            found.append(Made(self._place(node, statement), ops, name, names - {"self"},
                              _expressions.standardised(node)))  # fmt: skip
            waiting += [(b.value, n, b.statement) for n, b in self._behind(node)]
        return found

    def _behind(self, node: ast.expr) -> Iterator[tuple[str, Binding]]:
        """What the names of an expression were set to."""
        names = {spelled(n): n for n in ast.walk(node) if spelled(n) not in ("", "self")}
        for name, place in names.items():
            own = self._comprehended(name, place)
            found = own or self.source.bound(name, place) or self._outside(place)
            yield from ((name, binding) for binding in found)
        for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
            function = self.source.function(called(call))
            for inner in ast.walk(function) if function is not None else ():
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield called(call), Binding(inner, inner.value, True)

    def _comprehended(self, name: str, place: ast.AST) -> list[Binding]:
        """Where a name is bound by the comprehension around it."""
        for around in self.source.above(place):
            if isinstance(around, ast.stmt):
                break
            for part in getattr(around, "generators", ()):
                statement = self.source.statement(place)
                if name in _expressions.names_in(part.target) and statement is not None:
                    return [Binding(statement, part.iter, True)]
        return []

    def _outside(self, place: ast.AST) -> list[Binding]:
        """A parameter is what it is called with; other names are looked up further out."""
        name, scope = spelled(place), self.source.scope(place)
        if not isinstance(scope, Function) or "." in name:
            return []
        names = [a.arg for a in (*scope.args.posonlyargs, *scope.args.args)]
        if name not in names:
            return self.source.bound(name, self.source.module.body[-1]) if name else []
        owner = self.source.owner(scope)
        called, shift = (owner.name, 1) if owner is not None else (scope.name, 0)
        if owner is not None and scope.name != "__init__":
            return []
        place_of = names.index(name) - shift
        entered = self.entered.get(owner or scope)
        calls = self.source.calls(called) if entered is None else [entered]
        return [b for call in calls for b in self._given(call, name, place_of)]

    def _given(self, call: ast.Call, name: str, place: int) -> Iterator[Binding]:
        statement = self.source.statement(call)
        named = next((k.value for k in call.keywords if k.arg == name), None)
        value = named or (call.args[place] if place < len(call.args) else None)
        if statement is not None and value is not None:
            yield Binding(statement, value, True)

    def _place(self, node: ast.expr, statement: ast.AST) -> Location:
        line = node.lineno if node is statement else getattr(statement, "lineno", node.lineno)
        text = self.source.file.read_text(encoding="utf-8").splitlines()[line - 1]
        return Location(file=relative(str(self.source.file)), line=line, source=text[:500])
