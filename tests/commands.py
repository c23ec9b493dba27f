"""The command line in this process, and a check whose verdict a test chooses."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from recipe_check.cli import main

TRAIN = """
import torch
from torch import nn
torch.manual_seed(0)
train_loader = [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(4)]
model = nn.Linear(4, 3)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
PLANTED = '''
from dataclasses import dataclass
from typing import Any, ClassVar
from recipe_check.api import Meta
from recipe_check.values import Status
from recipe_check.results import Verdict

@dataclass(frozen=True, kw_only=True)
class Planted:
    """Says what its options say."""
    meta: ClassVar[Meta] = Meta(id="planted", stage="data", title="t", fail_title="f", cost="0")
    verdict_is: str = "fail"
    limit: float = 0.5
    rounds: int = 3
    def measure(self, lab: Any) -> Any: return None
    def judge(self, seen: Any) -> Verdict:
        return Verdict(status=Status(self.verdict_is), message="as planted")
'''
ONLY = ("--plugin", "planted.py", "--only", "planted", "--no-html")


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


def fill(folder: Path, config: str = "") -> Path:
    """A target, the planted check, and a pyproject.toml if there are settings for it."""
    (folder / "train.py").write_text(TRAIN)
    (folder / "planted.py").write_text(PLANTED)
    if config:
        (folder / "pyproject.toml").write_text(config)
    return folder


def command(folder: Path, *words: str) -> Done:
    """`recipe-check …` in a folder."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", ["recipe-check", *words]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())
