"""The child process in which all torch work happens. It speaks plain values over one pipe."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from recipe_check.errors import LoadError, RecipeCheckError, UserCodeError
from recipe_check.results import Summary, from_plain, to_plain


def worker_main(pipe: Connection, log: str, plugins: tuple[str, ...]) -> None:
    """Serves requests until `quit` or the parent is gone. Everything the user's code prints
    goes to the file `log`."""
    _own_process_group()
    _redirect_output(log)
    multiprocessing.set_start_method(None, force=True)  # spawned itself; loaders need not be
    server = _Server(plugins)
    while True:
        try:
            name, value = pipe.recv()
        except (EOFError, OSError):
            return
        if name == "quit":
            os._exit(0)  # nothing is left to save, and torch takes its time to unload
        _redirect_output(log)  # again: the last check may have closed it
        pipe.send(server.answer(name, value))


def _own_process_group() -> None:
    """So that the parent can end the loader's processes together with this one."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()


def _redirect_output(log: str) -> None:
    """File descriptors 1 and 2, so that C code is redirected as well."""
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, standard in ((empty, 0), (target, 1), (target, 2)):
        os.dup2(source, standard)
    for opened in {target, empty} - {0, 1, 2}:
        os.close(opened)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False, errors="replace")
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False, errors="replace")
    faulthandler.enable()


class _Server:
    """Holds the one lab of this process."""

    def __init__(self, plugins: tuple[str, ...]) -> None:
        self.plugins = plugins
        self.lab: Any = None
        self.profile: Any = None

    def answer(self, name: str, value: Any) -> tuple[str, Any]:
        """("ok", plain value) or ("error", plain description)."""
        try:
            return "ok", getattr(self, f"do_{name}")(value)
        except RecipeCheckError as error:
            plain = {"message": error.message, "hint": error.hint, "trace": error.trace}
            return "error", plain | {"exit_code": error.exit_code}
        except UserCodeError as error:
            return "error", {"message": str(error), "hint": "", "trace": error.trace}
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
            return "error", {"message": message, "hint": "", "trace": "", "exit_code": 4}

    def do_load(self, value: Mapping[str, Any]) -> Any:
        from recipe_check.lab import Lab
        from recipe_check.loading import load
        from recipe_check.request import LoadRequest
        from recipe_check.summary import describe

        request = from_plain(value, LoadRequest)
        subject = load(request)
        self.lab = Lab(subject, checked_device(request.device), request.seed)
        return {
            "target": to_plain(describe(subject)),
            "device": str(self.lab.device),
            "environment": environment(self.lab.device),
        }

    def do_rehearse(self, _: Any) -> Any:
        broken = self.lab.broken
        if broken is not None:
            raise broken
        return None

    def do_check(self, value: Mapping[str, Any]) -> Any:
        from recipe_check.plugins import build, check_classes
        from recipe_check.profiling import named
        from recipe_check.request import CheckRequest
        from recipe_check.runner import run_check

        request = from_plain(value, CheckRequest)
        check = build(check_classes(self.plugins)[request.id], request.options)
        lab = self.lab if request.seed == self.lab.seed else self._lab_with(request.seed)
        with named(request.id):
            return to_plain(run_check(check, lab, request.repeat))

    def _lab_with(self, seed: int) -> Any:
        from recipe_check.lab import Lab

        return Lab(self.lab.subject, str(self.lab.device), seed)

    def do_start_profile(self, _: Any) -> None:
        from recipe_check.profiling import start

        self.profile = start()

    def do_write_profile(self, file: str) -> None:
        from recipe_check.profiling import write

        write(self.profile, file)

    def do_expense(self, _: Any) -> Any:
        from recipe_check.expense import measure_expense

        return to_plain(measure_expense(self.lab))

    def do_summary(self, _: Any) -> Any:
        from recipe_check.summary import inputs, layers

        return to_plain(Summary(inputs=inputs(self.lab), layers=layers(self.lab)))


def checked_device(name: str) -> str:
    """The name of a device that is there; raises LoadError for any other."""
    import torch

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
    import platform

    import numpy
    import torch

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
