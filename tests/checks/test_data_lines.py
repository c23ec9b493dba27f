"""Findings about data that NumPy made name the statement that made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipe_check import Status
from recipe_check.checks._sources import chains
from recipe_check.checks.batch_contract import BatchContract
from recipe_check.checks.duplicates import Duplicates
from recipe_check.checks.input_independent_baseline import InputIndependentBaseline
from recipe_check.checks.input_scale import InputScale
from recipe_check.checks.label_range import LabelRange
from recipe_check.checks.target_scale import TargetScale
from recipe_check.lab import Lab
from recipe_check.loading import load
from recipe_check.request import LoadRequest

HEAD = """
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

rng = np.random.default_rng(0)
x = rng.normal(size=(640, 12)).astype("float32")
y = x[:, :3].argmax(1)
"""
TAIL = """
train_loader = DataLoader(TensorDataset(torch.tensor(x[:512]), torch.tensor(y[:512])), 32)
val_loader = DataLoader(TensorDataset(torch.tensor(x[512:]), torch.tensor(y[512:])), 32)
model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3))
loss_fn = nn.CrossEntropyLoss()
"""
ROWS = """
class Rows(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        {item}

train_loader = DataLoader(Rows(x, y), 32)
model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3))
loss_fn = nn.CrossEntropyLoss()
"""
REGRESSION = TAIL.replace("nn.CrossEntropyLoss", "nn.MSELoss").replace("64, 3", "64, 1")


def verdict_of(check: Any, tmp_path: Path, monkeypatch: Any, source: str) -> tuple[Any, int]:
    """The verdict, and the number of the line that ends with `# here`."""
    file = tmp_path / "data_line_target.py"
    file.write_text(source)
    monkeypatch.chdir(tmp_path)
    lab = Lab(load(LoadRequest(target=file.name)), device="cpu")
    marked = [n for n, line in enumerate(source.split("\n"), 1) if line.endswith("# here")]
    return check.judge(check.measure(lab)), marked[0] if marked else 0


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (BatchContract(), HEAD + "x[7, 3] = np.nan  # here\n" + TAIL),
        (BatchContract(), HEAD + "x = x * 0  # here\n" + TAIL),
        (LabelRange(), HEAD + "y = y + 1  # here\n" + TAIL),
        (LabelRange(), HEAD + ROWS.format(item="return self.x[i], int(self.y[i] / 9)  # here")),
        (InputScale(), HEAD + "x = x * 300 + 900  # here\n" + TAIL),
        (InputScale(), HEAD + TAIL.replace(
            "val_loader = ", "v = x[512:] * 50  # here\nval_loader = ").replace("(x[512:]", "(v")),
        (TargetScale(), HEAD + "y = (x[:, :1] * 9e4).astype('float32')  # here\n" + REGRESSION),
        (BatchContract(), HEAD + ROWS.format(item="return self.x[3], self.y[i]  # here")),
        (Duplicates(), HEAD + TAIL.replace(
            "val_loader = ", "part = TensorDataset(torch.tensor(x[:99]), torch.tensor(y[:99]))"
            "  # here\nval_loader = ").replace(
            "TensorDataset(torch.tensor(x[512:]), torch.tensor(y[512:]))", "part")),
    ],
    ids=["nan", "constant", "shifted-labels", "cast-labels", "scale", "validation", "targets",
         "index-ignored", "overlap"],
)  # fmt: skip
def test_the_statement_is_named(tmp_path, monkeypatch, check, source) -> None:
    verdict, line = verdict_of(check, tmp_path, monkeypatch, source)
    assert verdict.status in (Status.FAIL, Status.WARN)
    assert verdict.location is not None
    assert verdict.location.line == line


@pytest.mark.parametrize(
    "slip",
    ["y = np.roll(y, 5)  # here", "rng.shuffle(x)  # here", "x = x[rng.permutation(640)]  # here"],
)
def test_the_side_that_was_reordered_alone_is_named(tmp_path, monkeypatch, slip) -> None:
    joint = "order = rng.permutation(640)\nx = x[order]\ny = y[order]\n"
    source = HEAD + joint + slip + TAIL
    verdict, line = verdict_of(InputIndependentBaseline(), tmp_path, monkeypatch, source)
    assert verdict.status is Status.FAIL
    assert verdict.location.line == line
    sound, _ = verdict_of(InputIndependentBaseline(), tmp_path, monkeypatch, HEAD + joint + TAIL)
    assert sound.status is Status.PASS


def test_validation_labels_that_are_numbered_otherwise_fail(tmp_path, monkeypatch) -> None:
    slip = "w = (y[512:] + 1) % 3  # here\nval_loader = "
    tail = TAIL.replace("val_loader = ", slip).replace("torch.tensor(y[512:])", "torch.tensor(w)")
    verdict, line = verdict_of(InputIndependentBaseline(), tmp_path, monkeypatch, HEAD + tail)
    assert verdict.status is Status.FAIL
    assert "numbered otherwise" in verdict.message
    assert verdict.location.line == line


def test_bytes_that_wrap_around_are_warned_of_and_labels_may(tmp_path, monkeypatch) -> None:
    wrap = "b = torch.tensor(x * 20 + 100).to(torch.uint8)\nx = ({}).float().numpy() / 99\n"
    source = HEAD + wrap.format("b * 2") + TAIL.replace("torch.tensor(x", "torch.from_numpy(x")
    verdict, _ = verdict_of(BatchContract(), tmp_path, monkeypatch, source)
    assert verdict.status is Status.PASS  # NumPy in between: not seen
    tensors = TAIL.replace("torch.tensor(x[:512])", "x[:512]").replace(
        "torch.tensor(x[512:])", "x[512:]"
    )
    wrap = (
        "x = torch.tensor(x * 20 + 100).to(torch.uint8)\nx = x * {}  # here\nx = x.float() / 99\n"
    )
    verdict, line = verdict_of(
        BatchContract(), tmp_path, monkeypatch, HEAD + wrap.format(2) + tensors
    )
    assert verdict.status is Status.WARN
    assert verdict.location.line == line
    verdict, _ = verdict_of(BatchContract(), tmp_path, monkeypatch, HEAD + wrap.format(1) + tensors)
    assert verdict.status is Status.PASS


def test_a_loader_from_elsewhere_has_no_chain(lab_for) -> None:
    found = chains(lab_for(None, []))
    assert (found.inputs, found.targets, found.index) == ((), (), None)
