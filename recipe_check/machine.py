"""The machine the torch work runs on: its devices, and what a reader needs to know of it."""

from __future__ import annotations

import platform
from typing import Any

import numpy
import torch

from recipe_check.errors import LoadError


def checked_device(name: str) -> str:
    """The name of a CPU or CUDA device that is there; raises LoadError for any other."""
    kind = name if name == "auto" else _kind(name)
    if not kind:
        raise LoadError(f"--device {name}: torch knows none", "use auto, cpu, cuda or cuda:1")
    if kind not in ("auto", "cpu", "cuda"):
        why = "MPS has no float64" if kind == "mps" else "no support for it"
        raise LoadError(f"--device {name}: {why}", "use --device cpu")
    found = torch.cuda.device_count()
    if kind == "cuda" and (torch.device(name).index or 0) >= found:
        seen = f"{found} CUDA devices" if found else "no CUDA device"
        raise LoadError(f"--device {name}: torch sees {seen} here", "use --device cpu")
    return name


def _kind(name: str) -> str:
    """The type of the device; '' for what torch does not know."""
    try:
        return torch.device(name).type
    except RuntimeError:
        return ""


def environment(device: Any) -> list[tuple[str, str]]:
    """What a reader needs to reproduce the run; no variables, no paths."""
    found = [
        ("Python", platform.python_version()),
        ("torch", str(torch.__version__)),
        ("NumPy", numpy.__version__),
        ("platform", f"{platform.system()} {platform.machine()}"),
        ("threads", str(torch.get_num_threads())),
    ]
    if device.type == "cuda":
        found.append(("GPU", torch.cuda.get_device_name(device)))
    return found
