"""How inputs and targets were made, read backwards in the source from the data loader.

Operations of torch are noted with their lines while they run; what NumPy, pandas or plain Python
did to the data is not. For these the statements are followed from the loader to its data set, to
what `__getitem__` and the collate function return, and to what those names were set to.
"""

from __future__ import annotations

import ast
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from recipe_check import Location
from recipe_check.lineage import made_at
from recipe_check.probes.loops import user_files
from recipe_check.userframes import relative

from ._bindings import Source
from ._expressions import called
from ._source_reader import Chains, Reader

if TYPE_CHECKING:
    from recipe_check import Lab

TRAINING = ("train_loader", "trainloader", "loader", "train_dl", "data_loader", "dataloader")
VALIDATION = ("val_loader", "valid_loader", "validation_loader", "test_loader")


def chains(lab: Lab, *, validation: bool = False) -> Chains:
    """Both chains of a loader; empty where the source does not say. Read once; no pass."""
    return lab.cached(("sources", validation), partial(_chains, lab, validation))


def _chains(lab: Lab, validation: bool) -> Chains:
    loader = lab.subject.val_loader if validation else lab.subject.loader
    for file in user_files(lab.subject.file):
        with suppress(OSError, SyntaxError, ValueError, RecursionError):
            source = Source(file, ast.parse(file.read_text(encoding="utf-8")))
            start = _start(source, made_at(loader), validation)
            if start is not None:
                return Reader(source).read(start)
    return Chains()


def _start(source: Source, made: Location | None, validation: bool) -> ast.expr | None:
    """The expression that made the loader: the user's function that a usual name was set by, the
    DataLoader call of the line that made it, else what a usual name was set to."""
    named = _named(source, validation)
    if isinstance(named, ast.Call) and source.function(called(named)) is not None:
        return named
    if made is not None and made.file == relative(str(source.file)):
        calls = (n for n in source.nodes if isinstance(n, ast.Call))
        same = [n for n in calls if n.lineno <= made.line <= (n.end_lineno or 0)]
        loaders = [n for n in same if called(n).endswith("DataLoader")]
        if loaders:
            return loaders[0]
    return named


def _named(source: Source, validation: bool) -> ast.expr | None:
    for name in VALIDATION if validation else TRAINING:
        found = source.bound(name, source.module.body[-1]) if source.module.body else []
        if found:
            return found[0].value
    return None
