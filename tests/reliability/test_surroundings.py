"""What a step does to its process is put back before the next check."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from recipe_check.surroundings import SETTINGS, preserved
from recipe_check.values import Status
from tests.reliability import faulty as target
from tests.reliability.running import faulty


def state() -> dict[str, object]:
    found = {setting.name: setting.read() for setting in SETTINGS}
    found["warnings"] = list(warnings.filters)
    found["random"] = (torch.rand(1).item(), np.random.rand(), random.random())
    return found


@pytest.mark.parametrize("raises", [False, True])
def test_everything_of_a_process_is_put_back(raises: bool) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    with preserved():
        before = state()
    with contextlib.suppress(ValueError), preserved():
        target.meddle_and_raise() if raises else target.meddle()
        assert torch.get_default_dtype() is torch.float64
    after = state()
    assert {name for name in before if before[name] != after[name]} == set()
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    assert not hasattr(os.environ, "MEDDLED")


def test_an_alarm_or_a_stream_that_was_set_is_gone() -> None:
    out = sys.stdout
    with preserved():
        signal.alarm(1000)
        sys.stdout = None
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert sys.stdout is out


def test_a_working_folder_that_is_gone_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with preserved():
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path  # nothing to go back to


def test_a_check_in_the_worker_does_not_reach_the_next() -> None:
    found = faulty("fine-0", "forward-meddle", "fine-1", "forward-raise", "fine-2")
    assert "after meddling" in found["forward-raise"].verdict.message
    fine = [found[f"fine-{number}"] for number in range(3)]
    assert {result.status for result in fine} == {Status.PASS}
    assert len({result.verdict.message for result in fine}) == 1
