"""recipe-check: find out that a model cannot train as intended before you train it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recipe_check.api import Check, Meta
from recipe_check.details import Bars, Histogram, Images, Line, Mark, Matrix, Series, Table, thin
from recipe_check.errors import NotApplicable
from recipe_check.marks import recipe, suppress
from recipe_check.results import Result, Verdict
from recipe_check.values import Cause, CauseState, Fix, Location, Status

if TYPE_CHECKING:
    from recipe_check.lab import Lab
    from recipe_check.python_api import assert_ready, run
    from recipe_check.rig import Rig
    from recipe_check.subject import Subject

__version__ = "0.1.0"
_LAZY = {  # these import torch
    "Lab": "lab",
    "Rig": "rig",
    "Subject": "subject",
    "assert_ready": "python_api",
    "run": "python_api",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"recipe_check.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'recipe_check' has no attribute {name!r}")


__all__ = [
    "Bars",
    "Cause",
    "CauseState",
    "Check",
    "Fix",
    "Histogram",
    "Images",
    "Lab",
    "Line",
    "Location",
    "Mark",
    "Matrix",
    "Meta",
    "NotApplicable",
    "Result",
    "Rig",
    "Series",
    "Status",
    "Subject",
    "Table",
    "Verdict",
    "assert_ready",
    "recipe",
    "run",
    "suppress",
    "thin",
]
