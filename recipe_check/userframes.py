"""Which lines belong to the user: locations and tracebacks with library frames left out."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, TracebackType

from recipe_check.values import Location

_OURS = Path(__file__).resolve().parent
_ROOTS = (_OURS, _OURS.parent / "checks", _OURS.parent / "reports")
_STDLIB = Path(sysconfig.get_paths()["stdlib"]).resolve()
_target_root: list[Path] = []  # where the target lives, even inside site-packages
_working: list[Path] = []  # the working directory at the start, wherever the target went since
_running: list[Location | None] = []  # lines that made the running modules


def set_target_root(folder: Path) -> None:
    """Count files below `folder` as the user's, wherever it is installed."""
    _target_root[:] = [folder.resolve()]
    is_user_file.cache_clear()


def set_working_folder(folder: Path) -> None:
    """Paths are relative to `folder` from now on, also where the target changes to another."""
    _working[:] = [folder.resolve()]


@lru_cache(maxsize=4096)
def is_user_file(name: str) -> bool:
    """Whether a code object's file name is neither ours, nor the standard library's, nor
    an installed package's."""
    if name.startswith("<"):
        return name.startswith("<ipython")
    path = Path(name).resolve()
    if any(path.is_relative_to(root) for root in _ROOTS):
        return False
    installed = "site-packages" in path.parts or "dist-packages" in path.parts
    if installed:
        root = _target_root[0] if _target_root else None
        return root is not None and "site-packages" in root.parts and path.is_relative_to(root)
    return not path.is_relative_to(_STDLIB)


def relative(name: str) -> str:
    """The path relative to the working directory where it is below it, else the bare name."""
    try:
        working = _working[0] if _working else Path.cwd()
        return Path(name).resolve().relative_to(working).as_posix()
    except (ValueError, OSError):
        return Path(name).name if name.startswith("<") else _from_home(name)


def _from_home(name: str) -> str:
    """Outside the working directory: no absolute home path may reach a report."""
    root = _target_root[0] if _target_root else None
    path = Path(name).resolve()
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return os.path.join("…", *path.parts[-2:])


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def caller_location(op: str = "") -> Location | None:
    """Where the user's code is right now: the innermost frame that is theirs, else the line that
    made the module that is running."""
    for frame in _stack(sys._getframe(1)):
        if is_user_file(frame.f_code.co_filename):
            return _location(frame.f_code, frame.f_lasti, frame.f_lineno, op)
    made = next((place for place in reversed(_running) if place is not None), None)
    return None if made is None else _with_op(made, op)


def _with_op(place: Location, op: str) -> Location:
    return Location(file=place.file, line=place.line, column=place.column,
                    end_column=place.end_column, source=place.source, op=op)  # fmt: skip


def enter_module(made: Location | None) -> None:
    """A module starts to run: where no frame is the user's (nn.Sequential), the line that made it
    stands for what happens in it."""
    _running.append(made)


def leave_module() -> None:
    """The module that started last has ended."""
    if _running:
        _running.pop()


def _location(code: CodeType, lasti: int, line: int, op: str) -> Location:
    column, end = _columns(code, lasti)
    source = linecache.getline(code.co_filename, line).rstrip("\n")
    return Location(
        file=relative(code.co_filename),
        line=line,
        column=column,
        end_column=end,
        source=source[:500],
        op=op,
    )


@lru_cache(maxsize=4096)
def _columns(code: CodeType, lasti: int) -> tuple[int | None, int | None]:
    """1-based first and last column of the instruction, when it stands on one line."""
    for index, (line, end_line, column, end) in enumerate(code.co_positions()):
        if index * 2 == lasti:
            if line != end_line or column is None or end is None:
                return None, None
            return column + 1, end + 1
    return None, None


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lasti, trace.tb_lineno
        trace = trace.tb_next


def error_location(error: BaseException) -> Location | None:
    """The innermost line of the user's code that an exception passed through."""
    found = None
    for frame, lasti, line in _frames(error.__traceback__):
        if is_user_file(frame.f_code.co_filename):
            found = _location(frame.f_code, lasti, line, "")
    if found is None and isinstance(error, SyntaxError) and error.filename and error.lineno:
        text = (error.text or "").rstrip("\n")
        found = Location(file=relative(error.filename), line=error.lineno, source=text)
    return found


def is_from_user(error: BaseException, own: str = "") -> bool:
    """Whether the user's code was entered last: no frame of ours, nor of the file `own`, is
    further in."""
    names = [frame.f_code.co_filename for frame, _, _ in _frames(error.__traceback__)]
    last = next((n for n in reversed(names) if n == own or _is_ours(n) or is_user_file(n)), own)
    return last != own and is_user_file(last)


def user_traceback(error: BaseException) -> str:
    """The traceback as Python prints it, with only the user's frames (all but ours where the
    error came from a library that the user's code did not call)."""
    frames = traceback.extract_tb(error.__traceback__)
    kept = [frame for frame in frames if is_user_file(frame.filename)]
    kept = kept or [f for f in frames if not _is_ours(f.filename) and f.filename[0] != "<"]
    lines = [
        f'  File "{relative(frame.filename)}", line {frame.lineno}, in {frame.name}\n'
        + (f"    {frame.line}\n" if frame.line else "")
        for frame in kept
    ]
    head = "Traceback (most recent call last):\n" if lines else ""
    return head + "".join(lines) + _last_lines(error)


def _is_ours(name: str) -> bool:
    return any(Path(name).resolve().is_relative_to(root) for root in _ROOTS)


def _last_lines(error: BaseException) -> str:
    text = "".join(traceback.format_exception_only(error))
    if isinstance(error, SyntaxError) and error.filename:
        text = text.replace(error.filename, relative(error.filename))
    return text
