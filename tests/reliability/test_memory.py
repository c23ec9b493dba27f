"""The limit of the worker's memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recipe_check.errors import UsageError
from recipe_check.memory import check_limit, explained, is_exhausted
from tests.commands import command, fill


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", True),
        ("MemoryError: ", True),
        ("OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", True),
        ("std::bad_alloc", True),
        ("RuntimeError: mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_what_says_that_there_was_no_memory(text: str, said: bool) -> None:
    assert is_exhausted(text) is said
    assert ("--memory-limit" in explained(text, 2.0)) is said
    assert explained(text, 0.0) == text


def test_a_limit_on_a_system_without_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    check_limit(0.0)
    with pytest.raises(UsageError, match="Linux only"):
        check_limit(2.0)


def test_the_option_reaches_the_worker_and_each_process_that_it_starts(tmp_path: Path) -> None:
    """While the target is loaded: one that takes too much does not load, and says where."""
    fill(tmp_path)
    (tmp_path / "big.py").write_text(
        "import resource, subprocess, sys\n"
        "code = 'import resource; print(resource.getrlimit(resource.RLIMIT_DATA)[0])'\n"
        "done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)\n"
        "assert int(done.stdout) == 2 * 2**30\n"
        "kept = [bytearray(10**8) for _ in range(100)]\n"
    )
    done = command(tmp_path, "big.py", "--memory-limit", "2")
    assert done.code == 3
    assert "MemoryError" in done.err
    assert "big.py, line 5" in done.err
    assert "(the worker process may take 2 GB: --memory-limit)" in done.err


def test_a_number_below_zero_is_a_wrong_option(tmp_path: Path) -> None:
    assert command(fill(tmp_path), "train.py", "--memory-limit", "-1").code == 2


def test_the_first_to_go_is_the_worker() -> None:
    code = (
        "from recipe_check.memory import go_first; go_first()\n"
        "print(open('/proc/self/oom_score_adj').read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1000"
