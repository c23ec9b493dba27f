"""The machine the torch work runs on: its devices, and what a reader needs to know of it."""

from __future__ import annotations

import platform
from typing import Any

import numpy
import torch

from recipe_check.errors import LoadError


def checked_device(name: str) -> str:
    """The name of a device that is there; raises LoadError for any other."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise LoadError(f"--device {name}: torch sees no CUDA device here", "use --device cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise LoadError("--device mps: torch sees no MPS device here", "use --device cpu")
    try:
        if name != "auto":
            torch.device(name)
    except RuntimeError as error:
        raise LoadError(f"--device {name}: {error}", "use auto, cpu, cuda or cuda:1") from error
    return name


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
