"""From the arguments of a call to a Subject: the same conventions as for a target's names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import torch
from torch import nn

from recipe_check.borrowed import borrowed
from recipe_check.errors import UsageError
from recipe_check.loading.assemble import Assembler
from recipe_check.loading.names import can_call_bare
from recipe_check.request import LoadRequest
from recipe_check.run_report import Found
from recipe_check.subject import Subject
from recipe_check.userframes import is_user_file


def request_for(objects: Mapping[str, Any], seed: int) -> LoadRequest:
    """Says that each object plays the role it was given for, whatever it looks like."""
    return LoadRequest(
        target="",
        model="model",
        data="train_loader",
        loss="loss_fn" if "loss_fn" in objects else None,
        optimizer="optimizer" if "optimizer" in objects else None,
        seed=seed,
    )


def subject_from(objects: Mapping[str, Any], request: LoadRequest) -> Subject:
    """The subject, with loaders that leave no trace in the user's own.

    Raises UsageError for an object that cannot play its role, LoadError where a function that
    was given raises.
    """
    _refuse(objects)
    module = ModuleType("arguments")
    vars(module).update(objects)
    subject = Assembler(module, objects, request).subject(_source_file(objects["model"]), "")
    parts = vars(subject) | vars(subject.original)
    for name in ("val_loader", "scheduler", "training_step"):
        if name in objects and parts[name] is None:
            raise UsageError(f"{name} cannot be used", "; ".join(subject.notes))
    val = subject.val_loader
    return replace(
        subject,
        loader=borrowed(subject.loader),
        val_loader=None if val is None else borrowed(val),
        found=tuple(_given(found) for found in subject.found),
    )


def _refuse(objects: Mapping[str, Any]) -> None:
    model = objects["model"]
    if not isinstance(model, nn.Module) and not can_call_bare(model):
        raise UsageError(
            f"model is a {type(model).__name__}, expected an nn.Module",
            "give the model, or a function without arguments that makes it",
        )
    optimizer = objects.get("optimizer")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(
            f"optimizer is a {type(optimizer).__name__}, expected a torch.optim.Optimizer"
        )
    for name in ("train_loader", "val_loader"):
        if isinstance(objects.get(name), Iterator):
            raise UsageError(
                f"the {name.replace('_', ' ')} is an iterator, which reading would use up",
                "give the DataLoader or the list that it reads from",
            )


def _given(found: Found) -> Found:
    """Arguments were not found by their names, they were given."""
    named = found.how.startswith(("by its name", "given by"))
    return msgspec.structs.replace(found, how="given") if named else found


def _source_file(model: Any) -> Path | None:
    """Where the model is written, if it is the user's; None in a notebook or for torch's own."""
    kind = type(model) if isinstance(model, nn.Module) else model
    try:
        file = inspect.getsourcefile(kind)
    except (TypeError, OSError):
        return None
    return Path(file) if file and is_user_file(file) else None
