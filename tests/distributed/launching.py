"""torchrun with two ranks on the CPU, in a few words."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FAILED = re.compile(r"rank\s+: (\d+) .*?\n\s*exitcode\s+: (-?\d+)")


@dataclass(frozen=True)
class Ended:
    """What the ranks printed, and how they ended: torchrun says so in its summary of failures."""

    code: int
    out: str
    err: str

    @property
    def codes(self) -> Mapping[int, int]:
        return {int(rank): int(code) for rank, code in _FAILED.findall(self.err)}


def first_alone(folder: Path, *words: str) -> Ended:
    """Rank 0 of two that nobody starts the other of, by hand."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    known = os.environ | {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
                          "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "recipe_check", *words],
        cwd=folder, env=known, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def torchrun(folder: Path, *words: str, module: str = "recipe_check") -> Ended:
    """`torchrun --nproc-per-node 2 -m …` in a folder."""
    known = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", module,
         *words],
        cwd=folder, env=known, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)
