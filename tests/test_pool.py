"""Checks shared between workers, each on a device of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipe_check.errors import UsageError
from recipe_check.pool import share_cores, split_devices
from recipe_check.run_report import decode
from tests.commands import TRAIN
from tests.test_cli import run

SLOW = """
import os, time
from dataclasses import dataclass
from typing import Any, ClassVar
from recipe_check.api import Meta
from recipe_check.values import Status
from recipe_check.results import Verdict

def check(id, act):
    class Made:
        meta: ClassVar[Meta] = Meta(id=id, stage="data", title=id, fail_title=id, cost="0")
        def measure(self, lab: Any) -> Any: return act()
        def judge(self, seen: Any) -> Verdict:
            return Verdict(status=Status.FAIL if seen == "bad" else Status.PASS, message=str(seen))
    Made.__name__ = Made.__qualname__ = id
    Made.__module__ = __name__
    Made.__doc__ = "A check that takes its time."
    return dataclass(frozen=True, kw_only=True)(Made)

def waits():
    start = time.time()
    time.sleep(1)
    return f"{os.getpid()} {start} {time.time()}"

def hangs():
    open("hanging", "w").close()
    time.sleep(1000)

a = check("a", waits)
b = check("b", waits)
bad = check("c-bad", lambda: "bad")
late = check("d-late", lambda: "late")
dies = check("e-dies", lambda: os._exit(7))
hanging = check("f-hangs", hangs)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def shared(folder: Path, only: str, *words: str):
    done = run(folder, "train.py", "--no-html", "--json", "r.json", "--plugin", "slow.py",
               "--only", only, "--devices", "cpu,cpu", *words)  # fmt: skip
    return done, decode((folder / "r.json").read_text())


def test_two_workers_run_two_checks_at_a_time(folder: Path) -> None:
    done, report = shared(folder, "a,b,initial-loss,gradient-norms")
    assert done.returncode == 0
    assert report.run.device == "cpu, cpu"
    assert [r.id for r in report.results] == ["a", "b", "initial-loss", "gradient-norms"]
    one, other = (r.verdict.message.split() for r in report.results[:2])
    assert one[0] != other[0], "the same process"
    assert float(one[1]) < float(other[2])
    assert float(other[1]) < float(one[2])
    assert report.layers


def test_verdicts_are_those_of_one_worker(folder: Path) -> None:
    _, report = shared(folder, "gradients,overfit-one-batch,lr-range")
    run(folder, "train.py", "--no-html", "--json", "one.json", "--only",
        "gradients,overfit-one-batch,lr-range")  # fmt: skip
    alone = decode((folder / "one.json").read_text())
    assert [(r.id, r.status) for r in report.results] == [(r.id, r.status) for r in alone.results]


def test_a_worker_that_dies_costs_one_result(folder: Path) -> None:
    done, report = shared(folder, "a,e-dies,d-late,initial-loss")
    found = {r.id: r.status.value for r in report.results}
    assert found == {"a": "pass", "e-dies": "error", "d-late": "pass", "initial-loss": "pass"}
    assert done.returncode == 4


def test_maxfail_ends_the_run_and_still_describes_the_model(folder: Path) -> None:
    done, report = shared(folder, "c-bad,a,b,d-late,initial-loss", "-x")
    assert done.returncode == 1
    assert report.results[-1].id == "c-bad"
    assert report.layers


def test_what_does_not_load_is_said_once(folder: Path) -> None:
    (folder / "train.py").write_text("import torch\nmodel = torch.nn.Linear(4, no)\n")
    done = run(folder, "train.py", "--no-html", "--devices", "cpu,cpu")
    assert done.returncode == 3
    assert done.stderr.count("error:") == 1


def test_an_interrupt_ends_all_workers(folder: Path) -> None:
    words = ["--plugin", "slow.py", "--only", "d-late,f-hangs,a,initial-loss", "--no-html",
             "--json", "r.json", "--devices", "cpu,cpu"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "recipe_check", "train.py", *words], cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 90
    while not (folder / "hanging").exists() and time.monotonic() < limit:
        time.sleep(0.1)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    report = decode((folder / "r.json").read_text())
    found = {r.id: r for r in report.results}
    assert report.run.interrupted
    assert found["f-hangs"].verdict.message == "interrupted"
    assert found["d-late"].status.value == "pass"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--devices", "cpu"), "fewer than two"),
        (("--devices", "cpu,cpu", "--device", "cpu"), "--devices and --device do not go together"),
        (("--devices", "cpu,cpu", "--profile", "t.json"), "--devices and --profile"),
        (("--devices", "cpu,cuda:7"), "cuda:7"),
    ],
)
def test_what_cannot_be_shared_is_refused(folder: Path, words, message) -> None:
    done = run(folder, "train.py", "--no-html", *words)
    assert done.returncode in (2, 3)
    assert message in done.stderr


def test_devices_are_names_between_commas() -> None:
    assert split_devices(None) == ()
    assert split_devices(" cuda:0, cuda:1,") == ("cuda:0", "cuda:1")
    with pytest.raises(UsageError):
        split_devices("cuda:0")


@pytest.mark.parametrize(("given", "expected"), [(None, "3"), ("5", "5")])
def test_workers_on_the_cpu_divide_its_cores(given, expected, monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    share_cores(("cpu", "cpu", "cuda:0"))
    assert os.environ["OMP_NUM_THREADS"] == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    share_cores(("cuda:0", "cuda:1", "cpu"))
    assert "OMP_NUM_THREADS" not in os.environ
