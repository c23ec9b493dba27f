"""Running a script as `__main__` under observation, and saying why it did not train."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, TracebackType

from recipe_check.errors import LoadError
from recipe_check.loading.module import raised_at, similar_files
from recipe_check.loading.script_watch import Stopped, Watch
from recipe_check.userframes import set_target_root, user_traceback


def spec_of(path: str) -> ModuleSpec:
    """What to run, a file or (as with `python -m`) a module; imports are looked for beside it."""
    spec = None
    if path.endswith(".py"):
        file = Path(path)
        if not file.is_file():
            raise LoadError(f"no such file: {path}", similar_files(file))
        sys.path.insert(0, str(file.resolve().parent))
        spec = importlib.util.spec_from_file_location("__main__", file.resolve())
    else:
        sys.path.insert(0, str(Path.cwd()))
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(path)
    if spec is None or spec.origin is None or not isinstance(spec.loader, InspectLoader):
        raise LoadError(f"no file or module named {path!r}", "give a path such as train.py")
    set_target_root(Path(spec.origin).parent)
    return spec


def run_script(spec: ModuleSpec, watch: Watch, path: str) -> ModuleType:
    """The script as `__main__`, which it stays: what it made may have to be pickled.

    Once it has reached its step, nothing that it raises matters any more.
    """
    module = main_module(spec)
    try:
        with watch.watching():
            execute(spec, module)
    except Stopped:
        pass
    except BaseException as error:
        if not watch.is_over:
            raise _failure(error, watch, path) from error
    return module


def main_module(spec: ModuleSpec) -> ModuleType:
    """An empty `__main__` for the script."""
    module = ModuleType("__main__")
    vars(module).update(__file__=spec.origin, __loader__=spec.loader, __package__=spec.parent)
    module.__spec__ = None if spec.name == "__main__" else spec
    sys.modules["__main__"] = module
    return module


def execute(spec: ModuleSpec, module: ModuleType) -> None:
    """Runs the script's code in the module; raises whatever it raises."""
    assert isinstance(spec.loader, InspectLoader)
    code = spec.loader.get_code(spec.name)
    assert code is not None
    exec(code, vars(module))


def _failure(error: BaseException, watch: Watch, path: str) -> LoadError:
    text = str(error).splitlines()[0] if str(error) else ""
    what = f"raised {type(error).__name__}: {text}"
    if isinstance(error, SystemExit):
        said = _said_by_argparse(error.__traceback__)
        what = f"called sys.exit({error.code!r})" + (f", {said}" if said else "")
    return LoadError(
        f"{path} {what}{raised_at(error)}, before its first optimizer.step()",
        "arguments of the script stand after --"
        if isinstance(error, SystemExit) else how_far(watch),
        user_traceback(error),
    )  # fmt: skip


def _said_by_argparse(trace: TracebackType | None) -> str:
    """The message of `ArgumentParser.error`, which is only printed."""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == "error" and Path(code.co_filename).name == "argparse.py":
            return str(trace.tb_frame.f_locals.get("message", ""))
        trace = trace.tb_next
    return ""


def how_far(watch: Watch) -> str:
    """What was seen of a script that never trained."""
    made = ", ".join(sorted({type(optimizer).__name__ for optimizer in watch.optimizers}))
    seen = watch.record
    return (
        f"seen until then: optimizers: {made or 'none'}; batches of a DataLoader: "
        f"{seen.batches}; calls of a module: {seen.forwards}; of backward(): {seen.backwards}"
    )
