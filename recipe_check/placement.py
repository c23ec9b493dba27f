"""Where checks run: on the device that was asked for, as far as the target and its memory can."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import torch

from recipe_check.lab import Lab
from recipe_check.reading import rows_of
from recipe_check.results import Result
from recipe_check.runner import run_check
from recipe_check.values import Status

if TYPE_CHECKING:
    from recipe_check.api import Check

FULL = "OutOfMemoryError"  # torch's for every accelerator, and for nothing on the CPU


def settled(lab: Lab, asked: str) -> Lab:
    """The lab, or one whose first step does run: with fewer samples where the device has no memory
    for all of them, on the CPU where the device was nobody's choice (`asked` is auto).

    The subject's notes say so. Nothing is run where the device is the CPU anyway.
    """
    if lab.device.type == "cpu":
        return lab
    lab = _fitting(lab)
    if asked != "auto" or lab.broken is None or _holds(lab, lab.device.type):
        return lab
    other = lab.on("cpu")
    if other.broken is not None:
        return other  # it has the same to say in clearer words, and with the line
    return _noted(other, f"checked on the CPU, because on {lab.device} {lab.broken.message}")


def run_with_room(check: Check, lab: Lab, repeat: int = 1) -> Result:
    """`run_check`; where the device runs out of memory again with half of the samples, until they
    fit or one is left. The verdict says how many were used."""
    result, used = run_check(check, lab, repeat), lab
    while _is_full(result) and (fewer := used.smaller()) is not None:
        _tidy()
        result, used = run_check(check, fewer, repeat), fewer
    return result if used is lab or _is_full(result) else _said(result, used, lab)


def _fitting(lab: Lab) -> Lab:
    """The lab with as many samples as one step has memory for."""
    fewer: Lab | None = lab
    while fewer is not None and fewer.broken is not None and FULL in fewer.broken.message:
        _tidy()
        fewer = fewer.smaller()
    if fewer is None or fewer.rows is None:
        return lab
    whole = rows_of(lab.train_batches[0])
    return _noted(
        fewer,
        f"checked with {fewer.rows} samples of each batch: one training step on all {whole} runs "
        f"out of memory on {lab.device}",
    )


def _noted(lab: Lab, note: str) -> Lab:
    lab.subject = replace(lab.subject, notes=(*lab.subject.notes, note))
    return lab


def _holds(lab: Lab, kind: str) -> bool:
    """Whether the user has put weights there already."""
    return any(p.device.type == kind for p in lab.subject.original.model.parameters())


def _is_full(result: Result) -> bool:
    return result.status is Status.ERROR and FULL in result.verdict.message


def _said(result: Result, used: Lab, lab: Lab) -> Result:
    whole = lab.rows or rows_of(lab.train_batches[0])
    words = f"{result.verdict.message} (with {used.rows} of {whole} samples: all of them run out " \
            f"of memory on {lab.device})"  # fmt: skip
    verdict = msgspec.structs.replace(result.verdict, message=words)
    return msgspec.structs.replace(result, verdict=verdict)


def _tidy() -> None:
    """Memory that only a failed step held goes back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
