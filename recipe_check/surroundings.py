"""What belongs to a whole process, as the user's code found it: put back after each check."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recipe_check.lab import preserved_rng


@dataclass(frozen=True)
class Setting:
    """One thing that is the same for all code of a process."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]


@contextmanager
def preserved() -> Iterator[None]:
    """On leaving, everything in SETTINGS, the warning filters and the random states are as on
    entering: what one check's run of the user's code does to them must not reach the next."""
    before = [(setting, setting.read()) for setting in SETTINGS]
    with preserved_rng(), warnings.catch_warnings():
        try:
            yield
        finally:
            for setting, value in before:
                _put_back(setting, value)


def _put_back(setting: Setting, value: Any) -> None:
    """A folder that is gone, or a state that torch refuses, stops nothing."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        if setting.read() != value:
            setting.write(value)


def _folder() -> str | None:
    with contextlib.suppress(OSError):
        return os.getcwd()
    return None


def _write_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _write_variables(variables: Mapping[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


def _write_path(folders: list[str]) -> None:
    sys.path[:] = folders


def _handlers() -> dict[int, Any]:
    """SIGCHLD is torch's, which sets it only once: it tells of dead workers of a DataLoader."""
    kept = {number for number in signal.valid_signals() if number != getattr(signal, "SIGCHLD", 0)}
    found = {int(number): signal.getsignal(number) for number in kept}
    return {number: handler for number, handler in found.items() if handler is not None}


def _write_handlers(handlers: Mapping[int, Any]) -> None:
    """Only the main thread may; those of SIGKILL and SIGSTOP cannot be set."""
    for number, handler in handlers.items():
        with contextlib.suppress(OSError, ValueError):
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)


def _alarm() -> bool:
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _write_alarm(running: bool) -> None:
    """One that a check has set would ring in another."""
    if not running:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _streams() -> tuple[Any, ...]:
    return sys.stdin, sys.stdout, sys.stderr


def _write_streams(streams: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = streams


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _cudnn() -> tuple[bool, bool, bool]:
    found = torch.backends.cudnn
    return found.enabled, found.benchmark, found.deterministic


def _write_cudnn(values: tuple[bool, bool, bool]) -> None:
    flags: Any = torch.backends.cudnn
    flags.enabled, flags.benchmark, flags.deterministic = values


def _autocast() -> dict[str, bool]:
    return {kind: torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")}


def _write_autocast(enabled: Mapping[str, bool]) -> None:
    for kind, value in enabled.items():
        torch.set_autocast_enabled(kind, value)


def _write_device(device: torch.device) -> None:
    """None is torch's own default, which costs less than to say `cpu`."""
    torch.set_default_device(None if device.type == "cpu" else device)


SETTINGS = (
    Setting("working folder", _folder, _write_folder),
    Setting("environment", lambda: dict(os.environ), _write_variables),
    Setting(
        "module path", lambda: list(sys.path), lambda old: sys.path.__setitem__(slice(None), old)
    ),
    Setting("arguments", lambda: list(sys.argv), lambda old: setattr(sys, "argv", old)),
    Setting("streams", _streams, _write_streams),
    Setting("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("trace function", sys.gettrace, sys.settrace),
    Setting("garbage collection", gc.isenabled, lambda old: gc.enable() if old else gc.disable()),
    Setting("signal handlers", _handlers, _write_handlers),
    Setting("alarm", _alarm, _write_alarm),
    Setting(
        "start of processes",
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda old: multiprocessing.set_start_method(old, force=True),
    ),
    Setting("NumPy's error handling", np.geterr, lambda old: np.seterr(**old)),
    Setting("gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("default device", torch.get_default_device, _write_device),
    Setting("threads", torch.get_num_threads, torch.set_num_threads),
    Setting(
        "deterministic algorithms",
        _deterministic,
        lambda old: torch.use_deterministic_algorithms(old[0], warn_only=old[1]),
    ),
    Setting("cuDNN", _cudnn, _write_cudnn),
    Setting("autocast", _autocast, _write_autocast),
    Setting("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    Setting(
        "precision of products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
)
