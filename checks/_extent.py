"""How much of the stored data the loader reaches: its length, its sampler, and the split."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch.utils.data import Sampler

from recipe_check import Location
from recipe_check.probes.loops import user_files
from recipe_check.userframes import relative

from ._blame import maker
from ._data_lines import SPLITS, route_line, sampler_line
from ._scan import Scan, scan
from .batch_contract import Problem

if TYPE_CHECKING:
    from recipe_check import Lab

SHORT = 0.5  # of what is stored, that the data set says it has
FEW = 0.05  # of the data set, that a sampler reaches
TURNED = 3.0  # times as many validation samples as training samples
LEAST = 100  # stored samples, before any of it counts


def extents(lab: Lab, found: Scan) -> Iterator[Problem]:
    """Data that training never sees. No pass of the model."""
    dataset: Any = getattr(lab.subject.loader, "dataset", None)
    said = _length(dataset)
    if said is None or found.late:
        return
    stored, where = _stored(lab, dataset)
    if stored >= LEAST and said < SHORT * stored:
        yield Problem(
            f"the data set says it has {said} samples, but stores {stored} that are read by index: "
            "__len__ is too small, and the rest is never seen",
            f"{said} of {stored} samples", f"{stored}",
            "return the number of stored samples in __len__", certain=False, location=where,
        )  # fmt: skip
    reached = _reached(lab, said)
    if said >= LEAST and reached < FEW * said:
        yield Problem(
            f"the sampler reaches {reached} of {said} samples", f"{reached} samples", f"{said}",
            "look at the indices that the sampler is given", certain=False,
            location=sampler_line(lab) or maker(lab, "data"),
        )  # fmt: skip
    yield from _turned(lab, found)


def _turned(lab: Lab, found: Scan) -> Iterator[Problem]:
    """Far more validation than training data of one size: a split the wrong way round."""
    if lab.subject.val_loader is None or not found.rows:
        return
    other = scan(lab, validation=True)
    if not other.late and other.rows >= max(TURNED * found.rows, LEAST):
        yield Problem(
            f"{found.rows} training samples, but {other.rows} for validation: the parts of the "
            "split are mixed up, or most of the data is left out",
            f"{found.rows} training samples", f"more than {other.rows} for validation",
            "train on the larger part", certain=False,
            location=route_line(lab, SPLITS) or maker(lab, "data"),
        )  # fmt: skip


def _reached(lab: Lab, said: int) -> int:
    """How many samples the sampler draws; all where there is none that says."""
    found = getattr(lab.subject.loader, "sampler", None)
    drawn = _length(found) if isinstance(found, Sampler) else None
    return said if drawn is None else drawn


def _length(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        return None


def _stored(lab: Lab, dataset: Any) -> tuple[int, Location | None]:
    """The most frequent length of the attributes that `__getitem__` looks up by its index alone
    (two at least: images and labels), and the line of `__len__`."""
    for file, node in _classes(lab, type(dataset).__name__):
        looked = _looked_up(node)
        sizes = Counter(size for n in looked if (size := _length(getattr(dataset, n, None))))
        if sizes and sizes.most_common(1)[0][1] >= 2:
            return sizes.most_common(1)[0][0], _length_line(file, node)
    return 0, None


def length_line(lab: Lab, name: str) -> Location | None:
    """The last line of `__len__` of a class of the user's."""
    return next((_length_line(file, node) for file, node in _classes(lab, name)), None)


def _classes(lab: Lab, name: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Classes of this name in the user's files."""
    for file in user_files(lab.subject.file):
        with suppress(OSError, SyntaxError, ValueError):
            module = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(module):
                if isinstance(node, ast.ClassDef) and node.name == name:
                    yield relative(str(file)), node


def _looked_up(node: ast.ClassDef) -> set[str]:
    """Attributes that stand as `self.name[index]` in `__getitem__`."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__getitem__":
            index = method.args.args[1].arg if len(method.args.args) > 1 else ""
            parts = [n for n in ast.walk(method) if isinstance(n, ast.Subscript)]
            return {
                p.value.attr for p in parts
                if isinstance(p.value, ast.Attribute) and isinstance(p.slice, ast.Name)
                and p.slice.id == index
            }  # fmt: skip
    return set()


def _length_line(file: str, node: ast.ClassDef) -> Location | None:
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__len__":
            line = method.body[-1].lineno
            return Location(file=file, line=line, source=ast.unparse(method.body[-1]))
    return None
