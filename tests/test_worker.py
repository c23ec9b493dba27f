"""A check that dies, hangs, leaves or breaks becomes an error, and the rest goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipe_check.run_report import decode
from recipe_check.values import Status
from tests.test_cli import GOOD, run

PLUGIN = """
import ctypes, os, signal, sys, time
from dataclasses import dataclass
from typing import ClassVar
from recipe_check import Meta, Status, Verdict

def check(id, act):
    class Made:
        meta: ClassVar[Meta] = Meta(id=id, stage="training", title="t", fail_title="f", cost="0")
        def measure(self, lab):
            return act()
        def judge(self, seen):
            return Verdict(status=Status.PASS, message="fine")
    Made.__name__ = Made.__qualname__ = id
    Made.__module__ = __name__
    Made.__doc__ = "A check that misbehaves."
    return dataclass(frozen=True, kw_only=True)(Made)

def prints():
    for _ in range(100):
        print("x" * 1_000_000)

killed = check("a-killed", lambda: os.kill(os.getpid(), signal.SIGKILL))
segfault = check("b-segfault", lambda: ctypes.string_at(0))
leaves = check("c-leaves", lambda: os._exit(7))
exits = check("d-exits", lambda: sys.exit(3))
hangs = check("e-hangs", lambda: time.sleep(1000))
raises = check("f-raises", lambda: 1 / 0)
closes = check("g-closes", lambda: os.close(1))
loud = check("h-loud", prints)
fine = check("i-fine", lambda: None)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "faults.py").write_text(PLUGIN)
    return tmp_path


def faults(folder: Path, only: str, *words: str):
    done = run(folder, "good.py", "--no-html", "--json", "r.json", "--plugin", "faults.py",
               "--only", only, "--budget", "100", *words)  # fmt: skip
    results = decode((folder / "r.json").read_text()).results
    return done, {r.id: r for r in results}


def test_a_dying_worker_costs_one_result(folder: Path) -> None:
    done, found = faults(folder, "a-killed,b-segfault,i-fine,initial-loss")
    assert found["a-killed"].status is Status.ERROR
    assert "SIGKILL" in found["a-killed"].verdict.message
    assert "SIGSEGV" in found["b-segfault"].verdict.message
    assert found["i-fine"].status is Status.PASS
    assert found["initial-loss"].status is Status.PASS
    assert done.returncode == 4


def test_leaving_raising_closing_and_shouting(folder: Path) -> None:
    _, found = faults(folder, "c-leaves,d-exits,f-raises,g-closes,h-loud,i-fine")
    assert "exit code 7" in found["c-leaves"].verdict.message
    assert "SystemExit" in found["d-exits"].verdict.message
    assert "ZeroDivisionError" in found["f-raises"].verdict.message
    assert "says nothing about the model" in found["f-raises"].verdict.message
    for id in ("g-closes", "h-loud", "i-fine"):
        assert found[id].status is Status.PASS


def test_a_hanging_check_is_stopped_by_its_time(folder: Path) -> None:
    start = time.monotonic()
    _, found = faults(folder, "e-hangs,i-fine", "--check-timeout", "2")
    assert time.monotonic() - start < 40
    assert "longer than 2 s" in found["e-hangs"].verdict.message
    assert found["i-fine"].status is Status.PASS


def test_the_budget_ends_in_a_report_that_says_what_was_not_run(folder: Path) -> None:
    _, found = faults(folder, "e-hangs,i-fine", "--budget", "12")
    assert found["e-hangs"].status is Status.ERROR
    assert found["i-fine"].status is Status.SKIP
    assert "out of time" in found["i-fine"].verdict.message
    note = decode((folder / "r.json").read_text()).notes[-1]
    assert note == "budget-exceeded: 1 check not run within 12 s (i-fine); raise --budget"


def test_ctrl_c_leaves_a_partial_report(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "recipe_check", "good.py", "--html", "r.html", "--json", "r.json",
         "--plugin", "faults.py", "--only", "initial-loss,e-hangs,i-fine"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    with process:
        for line in process.stdout or ():
            if "initial-loss" in line:
                break
        time.sleep(1)
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    found = {r.id: r for r in decode((folder / "r.json").read_text()).results}
    assert found["initial-loss"].status is Status.PASS
    assert found["i-fine"].verdict.message == "interrupted"
    assert "Interrupted" in (folder / "r.html").read_text()


def test_a_target_that_dies_or_hangs_while_loading(folder: Path) -> None:
    (folder / "dies.py").write_text("import os; os._exit(9)")
    (folder / "hangs.py").write_text("import time; time.sleep(1000)")
    dies, hangs = run(folder, "dies.py"), run(folder, "hangs.py", "--budget", "4")
    assert (dies.returncode, hangs.returncode) == (3, 3)
    assert "exit code 9" in dies.stderr
    assert "longer than" in hangs.stderr


def test_two_plugins_with_one_id_and_a_file_without_checks(folder: Path) -> None:
    (folder / "twice.py").write_text(PLUGIN.replace("i-fine", "initial-loss"))
    (folder / "none.py").write_text("x = 1")
    twice = run(folder, "good.py", "--plugin", "twice.py")
    none = run(folder, "good.py", "--plugin", "none.py")
    assert (twice.returncode, none.returncode) == (2, 2)
    assert "two checks are called initial-loss" in twice.stderr
    assert "holds no check" in none.stderr
