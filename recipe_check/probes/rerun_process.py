"""Starting a captured script again, in a process of its own, and reading what was seen there."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from recipe_check.errors import NotApplicable
from recipe_check.probes.rerun import Hold, Recorded, Wanted
from recipe_check.values import from_plain, to_plain

if TYPE_CHECKING:
    from recipe_check.lab import Lab

LOADING = 24.0  # seconds that Python and torch may take, on a busy machine
MOST = 20.0  # seconds to the first step, so that a check has its runs within --check-timeout
_START = (
    "import sys; sys.path.append({package!r}); "
    "from recipe_check.probes.rerun_child import main; main({folder!r})"
)
QUIET = {"WANDB_MODE": "disabled", "COMET_MODE": "disabled", "MPLBACKEND": "agg"}


def run_again(
    lab: Lab, *, hold: Hold = "", rate: float = 0.0, order: bool = False, steps: int = 100,
    seconds: float = 8.0,
) -> Recorded:  # fmt: skip
    """One run of the lab's script; cached. Raises NotApplicable where it cannot be made in time.

    Cost: a process, the script up to its first step, and `steps` of its own steps.
    """
    script = lab.subject.rerun
    assert script is not None
    wanted = Wanted(script=script, hold=hold, rate=rate, order=order, steps=steps, seconds=seconds)
    return lab.cached(("rerun", wanted), lambda: _run(wanted))


def _run(wanted: Wanted) -> Recorded:
    limit = LOADING + 2 * wanted.script.seconds + wanted.seconds
    if wanted.script.seconds > MOST:
        raise NotApplicable(
            f"the script needs {wanted.script.seconds:.0f} s to its first step, too long to run "
            "it again"
        )
    with tempfile.TemporaryDirectory(prefix="recipe-check-") as folder:
        (Path(folder) / "wanted.json").write_text(json.dumps(to_plain(wanted)))
        _wait(folder, wanted, limit)
        answer = Path(folder) / "recorded.json"
        if not answer.is_file():
            raise NotApplicable("the script did not get to a backward() when it was run again")
        return from_plain(json.loads(answer.read_text()), Recorded)


def _wait(folder: str, wanted: Wanted, limit: float) -> None:
    """The process ends by itself; where it does not, it is ended. It dies with this one: what
    it reads from comes to its end."""
    package = str(Path(__file__).resolve().parents[2])
    words = [sys.executable, "-P", "-c", _START.format(package=package, folder=folder)]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, cwd=wanted.script.folder, env={**os.environ, **QUIET}
    )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
