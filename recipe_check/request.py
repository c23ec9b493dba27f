"""What the parent process asks of the worker: plain values that cross the process boundary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipe_check.values import Value


class LoadRequest(Value, frozen=True, kw_only=True):
    """What to load and how. `target` is a file, `file.py:name` or `package.module:name`.

    `model`, `data`, `loss` and `optimizer` name objects in the target (or
    `module:object`); None means found by convention. `kwargs` are passed to a model factory,
    `script_args` are what the target sees in `sys.argv`; with `capture` it is run as a script up to
    its first step. Modules are also looked for in `root`. Under torchrun a process that is `alone`
    gets a process group of its own.
    """

    target: str
    model: str | None = None
    data: str | None = None
    loss: str | None = None
    optimizer: str | None = None
    kwargs: Mapping[str, Any] = {}
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    seed: int = 0
    script_args: tuple[str, ...] = ()
    capture: bool = False
    root: str = ""  # the folder of the configuration file
    alone: bool = False


class CheckRequest(Value, frozen=True, kw_only=True):
    """One check to run: its id, its option values, and how many seeds decide."""

    id: str
    options: Mapping[str, Any] = {}
    repeat: int = 1


def split_target(target: str) -> tuple[str, str]:
    """`file.py:name` or `package.module:name` as (file or module, name); the name may be ''."""
    head, colon, name = target.rpartition(":")
    if colon and name.replace(".", "_").isidentifier() and head:
        return head, name
    return target, ""
