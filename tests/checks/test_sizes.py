"""Width of the model and size of the batch: planted mistakes, healthy twins, traps."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from recipe_check import NotApplicable, Status
from recipe_check.checks.batch_size import BatchSize, Size, Sizes
from recipe_check.checks.capacity import Capacity, Growth
from tests.nets import class_batches, made

CE = nn.CrossEntropyLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


class Wide(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, width), nn.Linear(width, 3)

    def forward(self, x):
        return self.head(F.relu(self.body(x)))


class Fading(Wide):
    """The wider, the less of the signal comes through."""

    def forward(self, x):
        return self.head(F.relu(self.body(x)) * (8 / self.body.out_features) ** 8)


class NeedsMore(Wide):
    def __init__(self, width: int) -> None:
        super().__init__(width)


def test_a_model_that_fits_worse_when_it_grows(lab_for) -> None:
    check = Capacity(steps=250)
    for kind, status in ((Fading, Status.WARN), (Wide, Status.PASS)):
        assert judged(check, lab_for(made(kind), class_batches(), CE)).status is status


def test_capacity_needs_a_class_that_builds_the_model_by_default(lab_for) -> None:
    other = lab_for(made(Wide, width=16), class_batches(), CE)
    with pytest.raises(NotApplicable, match="by default"):
        Capacity().measure(other)
    with pytest.raises(NotApplicable, match="without a default"):
        Capacity().measure(lab_for(made(NeedsMore, width=8), class_batches(), CE))
    with pytest.raises(NotApplicable, match="no width"):
        Capacity().measure(lab_for(nn.Sequential(nn.Linear(8, 3)), class_batches(), CE))


class Slow(Dataset):
    """Each sample takes its time, as decoding a picture does."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int):
        time.sleep(self.seconds)
        x = torch.randn(8, generator=torch.Generator().manual_seed(index))
        return x, int(x[:3].argmax())


def test_a_loader_that_is_slower_than_the_model(lab_for) -> None:
    for seconds, status in ((0.004, Status.WARN), (0.0, Status.PASS)):
        loader = DataLoader(Slow(seconds), batch_size=16)
        verdict = judged(BatchSize(), lab_for(made(Wide), loader, CE))
        assert verdict.status is status
        table = verdict.details[0]
        assert [row[0] for row in table.rows][:2] == [16, 32]


def ends(base: float, wide: float) -> Growth:
    return Growth("width", 8, ((2.0, *[base] * 10),) * 3, ((2.0, *[wide] * 10),) * 3)


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (Capacity(), ends(1.0, 1.04), Status.PASS),
        (Capacity(), ends(1.0, 1.06), Status.WARN),
        (Capacity(), ends(0.39, 0.5), Status.PASS),
        (BatchSize(), Sizes((Size(16, 0.01, 0),), None, 0.039), Status.PASS),
        (BatchSize(), Sizes((Size(16, 0.01, 0),), None, 0.041), Status.WARN),
        (BatchSize(), Sizes((Size(16, 0.001, 0),), None, 0.019), Status.PASS),
        (BatchSize(), Sizes((Size(16, 0.01, 0),), 64, 0.0), Status.PASS),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status


def test_a_size_that_does_not_fit_is_told() -> None:
    verdict = BatchSize().judge(Sizes((Size(16, 0.01, 2**20),), 32, 0.0))
    assert "32 does not fit into memory" in verdict.message
