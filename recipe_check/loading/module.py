"""Importing the target: its module, with training on import caught and layer lines recorded."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from torch.optim import optimizer as torch_optimizer

from recipe_check.errors import LoadError
from recipe_check.lineage import lines_recorded, made_at
from recipe_check.request import split_target
from recipe_check.userframes import (
    caller_location,
    error_location,
    set_target_root,
    user_traceback,
)
from recipe_check.values import Location


class _TrainedOnImport(BaseException):
    """Leaves the target's module at its first optimizer step; not an Exception, so that the
    target's own `except Exception` does not swallow it."""

    def __init__(self, location: Location | None) -> None:
        super().__init__()
        self.location = location


def import_target(target: str, arguments: tuple[str, ...] = ()) -> tuple[ModuleType, Path, str]:
    """The module of `file.py[:name]` or `package.module[:name]`, its file and the name ('')."""
    path, name = split_target(target)
    with training_caught(target), lines_recorded(), arguments_given(path, arguments):
        module = _from_file(Path(path)) if path.endswith(".py") else _from_package(path)
    file = Path(getattr(module, "__file__", None) or path).resolve()
    return module, file, name


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadError(f"no such file: {path}", similar_files(path))
    set_target_root(path.parent)
    sys.path.insert(0, str(path.resolve().parent))
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_target"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader
    _run(lambda: loader.exec_module(module), str(path))
    return module


def similar_files(path: Path) -> str:
    """A hint with the Python files of the folder."""
    folder = path.parent if path.parent.is_dir() else Path()
    found = sorted(p.name for p in folder.glob("*.py"))[:5]
    return f"Python files there: {', '.join(found)}" if found else "check the path"


def _from_package(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        missing = importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        missing = True
    if missing:
        raise LoadError(
            f"no file or module named {name!r}", "give a path such as train.py, or pkg.module:name"
        )
    spec_file = importlib.util.find_spec(name)
    if spec_file is not None and spec_file.origin:
        set_target_root(Path(spec_file.origin).parent)
    found: list[ModuleType] = []
    _run(lambda: found.append(importlib.import_module(name)), name)
    return found[0]


def _run(load: Callable[[], Any], name: str) -> None:
    """Executes the target; whatever it raises becomes a LoadError with the user's frames."""
    try:
        load()
    except (_TrainedOnImport, LoadError):
        raise
    except SystemExit as error:
        raise LoadError(
            f"{name} called sys.exit({error.code!r}) while it was being loaded{raised_at(error)}",
            "put argument parsing and the training loop under  if __name__ == '__main__':",
            user_traceback(error),
        ) from error
    except BaseException as error:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        text = message.splitlines()[0] if message else ""
        raise LoadError(
            f"{name} could not be loaded: {type(error).__name__}: {text}{raised_at(error)}",
            _advice(error),
            user_traceback(error),
        ) from error


def raised_at(error: BaseException) -> str:
    """The user's line that raised, in brackets."""
    where = error_location(error)
    return f" ({where.file}, line {where.line})" if where else ""


def _advice(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install {error.name!r} into this environment, or run from its folder"
    if isinstance(error, SyntaxError):
        return "the file is not valid Python: fix the line shown above"
    return "the file must import on its own:  python -c 'import …'  shows the same error"


@contextmanager
def arguments_given(path: str, arguments: tuple[str, ...]) -> Iterator[None]:
    """The target sees its own command line, not ours."""
    before = sys.argv
    sys.argv = [path, *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def training_caught(target: str) -> Iterator[None]:
    """The first `optimizer.step()` inside the block ends the load with its line."""

    def stop(*_: Any) -> None:
        raise _TrainedOnImport(caller_location("optimizer.step()"))

    hook = torch_optimizer.register_optimizer_step_pre_hook(stop)
    try:
        yield
    except _TrainedOnImport as error:
        line = f" (line {error.location.line}, optimizer.step())" if error.location else ""
        raise LoadError(
            f"{target} started training while it was being loaded{line}",
            "put the loop under  if __name__ == '__main__':  or run it as it is, with --capture",
        ) from None
    finally:
        hook.remove()


def creation_lines(model: nn.Module) -> dict[str, Location]:
    """The line of each module by its dotted name, as far as they were recorded."""
    found = {name: made_at(module) for name, module in model.named_modules()}
    return {name: where for name, where in found.items() if where is not None}
