"""The process in which a captured script runs again: it writes down what it saw, and ends."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from recipe_check.errors import LoadError
from recipe_check.lab import seed_everything
from recipe_check.loading.module import arguments_given
from recipe_check.loading.script_run import execute, main_module, spec_of
from recipe_check.probes.rerun import Wanted
from recipe_check.probes.rerun_files import Scratch
from recipe_check.probes.rerun_hold import Holding
from recipe_check.probes.rerun_log import Log
from recipe_check.probes.rerun_watch import Watch
from recipe_check.userframes import set_working_folder
from recipe_check.values import from_plain, to_plain

TICK = 0.1  # seconds
_open, _rename = open, os.rename  # as they are before the script runs


def main(folder: str) -> None:
    """Runs what `wanted.json` in the folder asks for; `recorded.json` is the answer."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    wanted = from_plain(json.loads((Path(folder) / "wanted.json").read_text()), Wanted)
    Run(wanted, Path(folder)).start()


def _end_with_the_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


class Run:
    """One observed run. It leaves the process when it has seen enough, so that nothing of the
    script is called any more."""

    def __init__(self, wanted: Wanted, folder: Path) -> None:
        self.wanted, self.folder = wanted, folder
        self.holding = Holding(wanted)
        self.log = Log(wanted, self.finish)
        self.log.on_step.append(self.holding.next_step)
        self._lock = threading.Lock()

    def start(self) -> None:
        script = self.wanted.script
        set_working_folder(Path.cwd())
        seed_everything(script.seed)
        if script.root:
            sys.path.append(script.root)
        threading.Thread(target=self._watch_the_clock, daemon=True).start()
        ended = "end"
        scratch = Scratch(self.folder, Path.cwd())
        try:
            spec = spec_of(script.target)
            watch = Watch(self.log, self.holding)
            given = arguments_given(script.target, script.arguments)
            with given, scratch.keeping(), watch.watching():
                execute(spec, main_module(spec))
        except LoadError:
            os._exit(3)
        except BaseException as error:
            ended = f"{type(error).__name__}: {error}"
        self.finish(ended)

    def _watch_the_clock(self) -> None:
        """`seconds` count from the first loss."""
        while not self.log.readings:
            time.sleep(TICK)
        time.sleep(self.wanted.seconds)
        self.finish("time")

    def finish(self, ended: str) -> None:
        """Writes the answer and ends the process."""
        with self._lock:
            found = self.log.recorded(ended, self.holding.changed, alike=self.holding.is_alike)
            text = json.dumps(to_plain(found))
            part = self.folder / "part"
            with _open(part, "w") as file:
                file.write(text)
            _rename(part, self.folder / "recorded.json")
            os._exit(0)
