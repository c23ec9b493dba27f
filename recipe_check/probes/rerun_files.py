"""What an observed script writes goes to a scratch folder: no checkpoint of the user's is touched.

Files opened by Python for writing, and by `torch.save`, are redirected; read again, they are found
there. Nothing is removed or renamed outside that folder. What C code writes is not seen.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import importlib.util
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

_WRITING = frozenset("wax+")
_GONE = ("remove", "unlink", "rmdir", "removedirs")
_MOVED = ("rename", "replace", "renames", "link", "symlink")


class Scratch:
    """Stands in for each file that is written, temporary ones left out. `home` is never taken for
    a folder of temporary files."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, str(home)
        self._temporary = tempfile.gettempdir()
        self._files: dict[str, str] = {}

    def reading(self, file: Any) -> Any:
        """The file in the scratch folder, if it was written before; else the file itself."""
        return self._files.get(_key(file), file)

    def writing(self, file: Any, *, again: bool) -> Any:
        """The file to write to; with `again` it begins as a copy of what is there."""
        key = _key(file)
        if self._is_free(key):
            return file
        if key not in self._files:
            stand_in = str(self.folder / f"{len(self._files)}-{Path(key).name}")
            if again and os.path.isfile(key):
                shutil.copyfile(key, stand_in)
            self._files[key] = stand_in
        return self._files[key]

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Within the block nothing is written elsewhere."""
        with ExitStack() as undo:
            for owner, name, make in self._replacements():
                original = getattr(owner, name)
                undo.callback(setattr, owner, name, original)
                setattr(owner, name, functools.wraps(original)(make(original)))
            yield

    def _replacements(self) -> Iterator[tuple[Any, str, Callable[[Any], Any]]]:
        yield io, "open", self._open
        yield builtins, "open", lambda _: io.open
        for name in _GONE:
            yield os, name, self._removed
        for name in _MOVED:
            yield os, name, self._moved
        yield shutil, "rmtree", self._removed
        yield torch, "save", self._saved
        if importlib.util.find_spec("safetensors"):
            yield importlib.import_module("safetensors.torch"), "save_file", self._saved

    def _open(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if _WRITING & set(mode):
                file = self.writing(file, again="w" not in mode)
                mode = mode.replace("x", "w")
            else:
                file = self.reading(file)
            return original(file, mode, *args, **kwargs)

        return opened

    def _saved(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def save(value: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
            return original(value, self.writing(file, again=False), *args, **kwargs)

        return save

    def _moved(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def move(source: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            if self._is_free(_key(source)):
                return original(source, target, *args, **kwargs)
            found = self._files.pop(_key(source), None)
            return found and self._files.update({_key(target): found})

        return move

    def _removed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def remove(path: Any, *args: Any, **kwargs: Any) -> Any:
            free = self._is_free(_key(path))
            return original(path, *args, **kwargs) if free else None

        return remove

    def _is_free(self, key: str) -> bool:
        """Whether it is a descriptor, a device or a temporary file."""
        temporary = _is_below(key, self._temporary) and not _is_below(key, self.home)
        return not key or temporary or key.startswith(("/dev/", "/proc/"))


def _key(file: Any) -> str:
    """The absolute path, '' for a descriptor."""
    return os.path.abspath(os.fspath(file)) if isinstance(file, str | os.PathLike) else ""


def _is_below(key: str, folder: str) -> bool:
    return key.startswith(os.path.abspath(folder) + os.sep)
