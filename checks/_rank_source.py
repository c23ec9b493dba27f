"""Calls in the user's files with what stands around them, read without running anything."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recipe_check import Location
from recipe_check.probes.loops import user_files
from recipe_check.userframes import relative

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Site:
    """One call: `owner.name(…)`, imported names by their own. `guards` are the conditions of the
    ifs, `blocks` the managers of the withs around it; `looped` whether a loop is; `assigned` what
    the file assigns to names."""

    name: str
    owner: str
    file: Path
    node: ast.Call
    guards: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    looped: bool = False
    assigned: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def location(self) -> Location:
        source = linecache.getline(str(self.file), self.node.lineno).rstrip("\n")
        return Location(
            file=relative(str(self.file)),
            line=self.node.lineno,
            column=self.node.col_offset + 1,
            source=source[:500],
            op=self.name,
        )

    def option(self, name: str, *, default: bool) -> bool:
        """A keyword of the call, where it is written as True or False."""
        for keyword in self.node.keywords:
            if keyword.arg == name and isinstance(keyword.value, ast.Constant):
                return bool(keyword.value.value)
        return default

    def mentions(self, word: str) -> bool:
        """Whether its arguments, or what the file assigns to the names in them, hold a word."""
        given = [*self.node.args, *(k.value for k in self.node.keywords)]
        names = {n.id for a in given for n in ast.walk(a) if isinstance(n, ast.Name)}
        behind = [self.assigned[name] for name in names if name in self.assigned]
        return word in " ".join([*(ast.unparse(a) for a in given), *behind]).lower()


@dataclass(frozen=True)
class _Around:
    file: Path
    names: Mapping[str, str]
    assigned: Mapping[str, str]
    guards: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    looped: bool = False


def sites(lab: Lab) -> list[Site]:
    """Every call in the target and the modules beside it, in the order of the text; read once."""
    return lab.cached("call sites", lambda: read_sites(user_files(lab.subject.file)))


def read_sites(files: Sequence[Path]) -> list[Site]:
    """Likewise of these files; those that are no Python are left out."""
    found: list[Site] = []
    for file in files:
        try:
            module = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        found += _walk(module, _Around(file, _imported(module), _assigned(module)))
    return found


def _imported(module: ast.Module) -> dict[str, str]:
    """What `from torch.nn.parallel import DistributedDataParallel as DDP` calls it here."""
    return {
        alias.asname: alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


def _assigned(module: ast.Module) -> dict[str, str]:
    """The text of what each name is assigned, where it is assigned once or more."""
    found: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                name = ast.unparse(target)
                found[name] = f"{found.get(name, '')} {ast.unparse(node.value)}"
    return found


def _walk(node: ast.AST, around: _Around) -> Iterator[Site]:
    if isinstance(node, ast.Call):
        yield _site(node, around)
    if isinstance(node, ast.If):
        yield from _walk(node.test, around)
        test = ast.unparse(node.test)
        yield from _all(node.body, replace(around, guards=(*around.guards, test)))
        yield from _all(node.orelse, replace(around, guards=(*around.guards, f"not ({test})")))
    elif isinstance(node, ast.With):
        texts = tuple(ast.unparse(item.context_expr) for item in node.items)
        yield from _all([item.context_expr for item in node.items], around)
        yield from _all(node.body, replace(around, blocks=(*around.blocks, *texts)))
    elif isinstance(node, ast.For | ast.While):
        head = node.iter if isinstance(node, ast.For) else node.test
        yield from _walk(head, around)
        yield from _all(node.body, replace(around, looped=True))
        yield from _all(node.orelse, around)
    else:
        yield from _all(ast.iter_child_nodes(node), around)


def _all(nodes: Iterable[ast.AST], around: _Around) -> Iterator[Site]:
    for node in nodes:
        yield from _walk(node, around)


def _site(node: ast.Call, around: _Around) -> Site:
    owner, _, name = ast.unparse(node.func).rpartition(".")
    return Site(
        name=name if owner else around.names.get(name, name),
        owner=owner,
        file=around.file,
        node=node,
        guards=around.guards,
        blocks=around.blocks,
        looped=around.looped,
        assigned=around.assigned,
    )
