"""The child process in which all torch work happens. It speaks plain values over one pipe."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from recipe_check.api import Check
from recipe_check.errors import RecipeCheckError, UserCodeError
from recipe_check.guard import as_user_error, own_process
from recipe_check.memory import explained, go_first, is_exhausted, limit_memory
from recipe_check.run_report import Summary
from recipe_check.userframes import is_from_user, set_working_folder
from recipe_check.values import Status, from_plain, to_plain


def worker_main(
    pipe: Connection,
    log: str,
    plugins: tuple[str, ...],
    memory_limit: float = 0.0,
    *,
    together: bool = False,
) -> None:
    """Serves requests until `quit` or the parent is gone. Everything the user's code prints
    goes to the file `log`; it may allocate `memory_limit` GB, 0 for no limit. `together` with the
    other ranks of a training, else by itself."""
    _own_process_group()
    _wait_without_spinning()
    _redirect_output(log)
    _end_with_the_parent()
    own_process()
    set_working_folder(Path.cwd())
    go_first()
    limit_memory(memory_limit)
    multiprocessing.set_start_method(None, force=True)  # spawned itself; loaders need not be
    files = tuple(os.path.abspath(file) for file in plugins)
    if together:
        from recipe_check.rank_worker import RankServer

        _serve(RankServer(files, memory_limit, pipe), pipe, log)
    else:
        _serve(Server(files, memory_limit), pipe, log)


def _serve(server: Server, pipe: Connection, log: str) -> None:
    own = os.getpid()
    while True:
        try:
            name, value = pipe.recv()
        except (EOFError, OSError):
            return
        if name == "quit":
            os._exit(0)  # nothing is left to save, and torch takes its time to unload
        _redirect_output(log)  # again: the last check may have closed it
        kind, answer = server.answer(name, value)
        if os.getpid() != own:
            os._exit(0)  # the user's code forked in a check: one process answers
        pipe.send((kind, answer, server.is_spent))


def _own_process_group() -> None:
    """So that the parent can end the loader's processes together with this one."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()


def _wait_without_spinning() -> None:
    """Before torch is there. OpenMP threads that spin while they wait (GCC's default, for long)
    made a run 2 to 5 times slower beside two busy programs, as on a machine of continuous
    integration; on an idle one this count changes nothing, and no spinning at all doubles it."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _end_with_the_parent() -> None:
    """A check that hangs must not go on for ever where the parent was killed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
            if hasattr(os, "killpg"):
                os.killpg(os.getpgid(0), signal.SIGKILL)
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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


class Server:
    """Holds the one lab of this process; `do_NAME` answers a request of that name."""

    def __init__(self, plugins: tuple[str, ...], memory_limit: float) -> None:
        self.plugins = plugins
        self.memory_limit = memory_limit
        self.is_spent = False  # no memory was left: another process is to do the rest
        self.lab: Any = None
        self.profile: Any = None

    def answer(self, name: str, value: Any) -> tuple[str, Any]:
        """("ok", plain value) or ("error", plain description)."""
        try:
            return "ok", self._asked(name, value)
        except RecipeCheckError as error:
            plain = {"message": error.message, "hint": error.hint, "trace": error.trace}
            return "error", self._seen(plain) | {"exit_code": error.exit_code}
        except UserCodeError as error:
            plain = {"message": str(error), "hint": "", "trace": error.trace}
            return "error", self._seen(plain)
        except BaseException as error:
            return "error", self._seen(_unforeseen(error))

    def _asked(self, name: str, value: Any) -> Any:
        """What loading sets up for a process is the target's way; later changes are undone."""
        act = getattr(self, f"do_{name}")
        if name == "load":
            return act(value)
        from recipe_check.surroundings import preserved

        with preserved():
            return act(value)

    def _seen(self, plain: dict[str, Any]) -> dict[str, Any]:
        """An error's message, with the limit of memory where that may be why."""
        self.is_spent |= is_exhausted(plain["message"])
        return plain | {"message": explained(plain["message"], self.memory_limit)}

    def do_load(self, value: Mapping[str, Any]) -> Any:
        from recipe_check.lab import Lab
        from recipe_check.lazy import materialised
        from recipe_check.loading import load
        from recipe_check.machine import checked_device, environment
        from recipe_check.placement import settled
        from recipe_check.request import LoadRequest
        from recipe_check.summary import describe

        request = from_plain(value, LoadRequest)
        if request.alone:
            from recipe_check.process_group import join_alone

            join_alone()
        subject = load(request)
        lab = materialised(Lab(subject, checked_device(request.device), request.seed))
        self.lab = settled(lab, request.device)
        return {
            "target": to_plain(describe(self.lab.subject)),
            "device": str(self.lab.device),
            "environment": environment(self.lab.device),
        }

    def do_rehearse(self, _: Any) -> Any:
        broken = self.lab.broken
        if broken is not None:
            raise broken
        return None

    def do_check(self, value: Mapping[str, Any]) -> Any:
        from recipe_check.placement import run_with_room
        from recipe_check.profiling import named
        from recipe_check.request import CheckRequest

        request = from_plain(value, CheckRequest)
        with named(request.id):
            plain = to_plain(run_with_room(self.check_of(request), self.lab, request.repeat))
        if plain["verdict"]["status"] == Status.ERROR:
            plain["verdict"] = self._seen(plain["verdict"])
        return plain

    def check_of(self, request: Any) -> Check:
        """The check with the options of the request."""
        from recipe_check.plugins import build, check_classes

        return build(check_classes(self.plugins)[request.id], request.options)

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


def _unforeseen(error: BaseException) -> dict[str, Any]:
    """Something that the user's code raises where nothing of the kind is expected, or our fault."""
    message = f"{type(error).__name__}: {error}"
    if not is_from_user(error):
        return {"message": message, "hint": "", "trace": "", "exit_code": 4}
    raised = as_user_error(error)
    where = f" ({raised.file}, line {raised.line})" if raised.file else ""
    return {"message": message + where, "hint": "", "trace": raised.trace}
