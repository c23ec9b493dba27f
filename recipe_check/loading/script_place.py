"""Positions in the user's code, from which calls can be made again, and the names known there."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType
from typing import Any

from recipe_check.userframes import is_user_file, relative


@dataclass(frozen=True)
class Place:
    """The instruction that a frame of the user was at."""

    code: CodeType
    lasti: int

    @staticmethod
    def here() -> Place | None:
        """That of the innermost frame that is the user's."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if is_user_file(frame.f_code.co_filename):
                return Place(frame.f_code, frame.f_lasti)
            frame = frame.f_back
        return None

    def __str__(self) -> str:
        return f"{relative(self.code.co_filename)}:{self._span()[0]}"

    def call(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Calls as if from there, so that findings and tracebacks show the user's line."""
        return _caller(self.code.co_filename, self._span())(func, args, kwargs)

    def _span(self) -> tuple[int, int, int, int]:
        """First line, last line, first column and the one after the last."""
        spots = islice(self.code.co_positions(), self.lasti // 2, None)
        line, end, column, last = next(spots, (None, None, None, None))
        first = line or self.code.co_firstlineno
        return first, end or first, column or 0, last or 0


@lru_cache(maxsize=1024)
def _caller(file: str, span: tuple[int, int, int, int]) -> Callable[..., Any]:
    """A function that calls another, all of it at one place of the user's file."""
    tree = ast.parse("lambda f, a, k: f(*a, **k)", mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.arg):
            node.lineno, node.end_lineno, node.col_offset, node.end_col_offset = span
    made: Callable[..., Any] = eval(compile(tree, file, "eval"))
    return made


def visible_names(frame: FrameType | None) -> dict[str, Any]:
    """What the user's code calls by name right now, the innermost names first."""
    found: dict[str, Any] = {}
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            owner = frame.f_locals.get("self")
            attributes = vars(owner) if hasattr(owner, "__dict__") else {}
            found = {**frame.f_globals, **attributes, **frame.f_locals, **found}
        frame = frame.f_back
    return found
