"""Mistakes that show in the values of samples and targets: planted, sound twins, traps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from recipe_check import NotApplicable, Status
from recipe_check.checks._sources import chains
from recipe_check.checks.batch_contract import BatchContract
from recipe_check.checks.duplicates import Duplicates
from recipe_check.checks.image_layout import ImageLayout
from recipe_check.checks.input_scale import InputScale
from recipe_check.checks.target_scale import TargetScale
from recipe_check.checks.time_dependency import TimeDependency
from recipe_check.lab import Lab
from recipe_check.loading import load
from recipe_check.request import LoadRequest
from tests.nets import MLP, made

CE = nn.CrossEntropyLoss()
FAIL, WARN, PASS = Status.FAIL, Status.WARN, Status.PASS


def judged(check, lab):
    return check.judge(check.measure(lab))


# -- columns


def column(kind: str):
    """Seven features and one more, in rows that were sorted by class and then shuffled."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(192, 7, generator=generator)
    y = torch.arange(192) // 64
    extra = {
        "index": torch.arange(192.0),
        "scaled": (torch.arange(192.0) - 95.5) / 55.4,
        "class": y + 0.01 * torch.randn(192, generator=generator),
        "year": 1990.0 + torch.arange(192) % 30,
        "shuffled": torch.randperm(192, generator=generator).float(),
    }[kind]
    order = torch.randperm(192, generator=generator)
    return torch.cat((x, extra[:, None]), 1)[order], y[order]


@pytest.mark.parametrize(
    ("kind", "status"),
    [("index", WARN), ("scaled", WARN), ("class", PASS), ("year", PASS), ("shuffled", PASS)],
)
def test_a_column_that_numbers_the_rows_of_a_sorted_file(lab_for, kind, status) -> None:
    lab = lab_for(made(MLP), DataLoader(TensorDataset(*column(kind)), 32), CE)
    verdict = judged(BatchContract(), lab)
    assert verdict.status is status
    assert ("numbers the rows" in verdict.message) == (status is WARN)


# -- images


def waves(count: int = 32, side: int = 16):
    """Smooth bytes from 18 to 238."""
    at = torch.arange(float(side))
    phase = torch.rand(count, 1, 1, generator=torch.Generator().manual_seed(0)) * 6
    rows = torch.sin(at[:, None] * 0.5 + at * 0.3 + phase)
    return (128 + 110 * rows).round().to(torch.uint8).unsqueeze(1)


def binary(count: int = 32, side: int = 16):
    """Black and white squares with grey edges: half of the levels never occur."""
    found = torch.zeros(count, 1, side, side)
    found[:, :, 4:12, 4:12] = 255
    edge = torch.randint(1, 255, (count, 1, 8), generator=torch.Generator().manual_seed(0))
    found[:, :, 3, 4:12] = edge.float()
    return found


@pytest.mark.parametrize(
    ("images", "word"),
    [
        (waves().to(torch.int8).float(), "wrapped"),
        (((waves().int() + 60) % 256).float(), "wrapped"),
        (waves().float() / 255, ""),
        (waves().float() - 128, ""),
        (binary(), ""),
        (torch.randint(0, 256, (32, 1, 16, 16)).float(), ""),
    ],
    ids=["int8", "added", "scaled", "centred", "black-white", "noise"],
)
def test_bytes_that_left_their_range(lab_for, images, word) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(784, 3))
    batches = DataLoader(TensorDataset(images, torch.arange(32) % 3), 8)
    verdict = judged(BatchContract(), lab_for(net, batches, CE))
    assert verdict.status is (WARN if word else PASS)
    assert word in verdict.message


def cut(images: torch.Tensor, side: int) -> torch.Tensor:
    """The same numbers again and again in rows of another length, as np.resize does."""
    flat = images.flatten(1)
    return flat.repeat(1, 8)[:, : side * side].reshape(-1, 1, side, side)


def spots(count: int = 32, side: int = 10):
    at = torch.arange(float(side))
    middle = 2 + 5 * torch.rand(count, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    far = (at[:, None] - middle[:, 0]) ** 2 + (at - middle[:, 1]) ** 2
    return (-far / 8).exp().unsqueeze(1)


def stripes(step: float):
    at = torch.arange(16.0)
    phase = torch.rand(32, 16, 1, generator=torch.Generator().manual_seed(0)) * 6
    return torch.sin(at * step + phase).unsqueeze(1)


@pytest.mark.parametrize(
    ("images", "status"),
    [
        (cut(spots(), 16), WARN),
        (spots(side=16), PASS),
        (waves().float(), PASS),
        (stripes(0.2), PASS),  # smooth along rows that have nothing to do with each other
        (torch.randn(32, 1, 16, 16), PASS),
    ],
    ids=["cut", "spots", "waves", "rows", "noise"],
)
def test_images_cut_into_rows_of_another_length(lab_for, images, status) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(784, 3))
    lab = lab_for(net, DataLoader(TensorDataset(images, torch.arange(32) % 3), 16), CE)
    if status is PASS:
        with pytest.raises(NotApplicable, match="two to four channels"):
            judged(ImageLayout(), lab)
    else:
        verdict = judged(ImageLayout(), lab)
        assert verdict.status is WARN
        assert "rows of 10 pixels" in verdict.message


# -- splits


@pytest.mark.parametrize("how", ["random", "in-time", "tables"])
def test_windows_of_one_series_that_were_split_at_random(lab_for, how) -> None:
    generator = torch.Generator().manual_seed(0)
    series = torch.randn(2000, generator=generator).cumsum(0)
    windows = series.unfold(0, 32, 4)
    if how == "tables":
        windows = torch.randn(len(windows), 32, generator=generator)
    data = TensorDataset(windows, (windows.mean(1) > 0).long())
    parts = (
        (TensorDataset(windows[:400], data.tensors[1][:400]),
         TensorDataset(windows[400:], data.tensors[1][400:]))
        if how == "in-time"
        else random_split(data, [400, len(windows) - 400], generator)
    )  # fmt: skip
    net = nn.Linear(32, 2)
    loaders = [DataLoader(part, 40) for part in parts]
    verdict = judged(Duplicates(), lab_for(net, loaders[0], CE, val_loader=loaders[1]))
    assert verdict.status is (WARN if how == "random" else PASS)
    assert ("overlap" in verdict.message) == (how == "random")


# -- targets


@pytest.mark.parametrize(
    ("scale", "validation", "word"),
    [
        (1.0, 1.0, ""),
        (1.0, 70.0, "validation targets are scaled differently"),
        (2e-4, 2e-4, "times smaller"),
        (0.05, 0.05, ""),
        (1.0, 1.7, ""),
    ],
)
def test_targets_of_other_units_and_tiny_ones(lab_for, scale, validation, word) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(192, 8, generator=generator)
    y = torch.tanh(x[:, :1])
    train = DataLoader(TensorDataset(x[:128], scale * y[:128]), 32)
    val = DataLoader(TensorDataset(x[128:], validation * y[128:]), 32)
    lab = lab_for(made(MLP, classes=1), train, nn.MSELoss(), val_loader=val)
    verdict = judged(TargetScale(), lab)
    assert verdict.status is (WARN if word else PASS)
    assert word in verdict.message


@pytest.mark.parametrize(
    ("shift", "word"), [(-1, "earlier"), (-2, "earlier"), (1, ""), (0, "the same tokens")]
)
def test_targets_that_lag_behind_their_inputs(lab_for, shift, word) -> None:
    class Causal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.rnn = nn.Embedding(11, 8), nn.GRU(8, 8, batch_first=True)
            self.head = nn.Linear(8, 11)

        def forward(self, x):
            return self.head(self.rnn(self.embed(x))[0]).transpose(1, 2)

    generator = torch.Generator().manual_seed(0)
    text = torch.randint(0, 11, (3, 8, 20), generator=generator)
    batches = [(t[:, 4:16], t[:, 4 + shift : 16 + shift]) for t in text]
    verdict = judged(TimeDependency(), lab_for(made(Causal), batches, CE))
    assert verdict.status is (WARN if word else PASS)
    assert word in verdict.message


@pytest.mark.parametrize("same", [True, False])
def test_few_distinct_samples_are_not_the_same_batch_again(lab_for, same) -> None:
    generator = torch.Generator().manual_seed(0)
    stored = torch.randn(12, 8, generator=generator)
    batches = []
    for _ in range(6):
        order = torch.randperm(12) if same else torch.randint(0, 12, (12,), generator=generator)
        batches.append((stored[order], order % 3))
    verdict = judged(Duplicates(), lab_for(made(MLP), batches, CE))
    assert verdict.status is (WARN if same else PASS)


# -- what stands in the file

HEAD = """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

torch.manual_seed(0)
x = torch.randn(256, 8)
y = x[:, :3].argmax(1)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters())
"""
LOOP = """
def train():
    for epoch in range({epochs}):
        for a, b in train_loader:
            optimizer.zero_grad()
            loss_fn(model(a), b).backward()
            optimizer.step()


if __name__ == "__main__":
    train()
"""
STREAM = """
def batches():
    for i in range(0, 256, 32):
        yield x[i : i + 32], y[i : i + 32]


train_loader = batches()
"""
MIXED = """
def collate(rows):
    a, b = torch.utils.data.default_collate(rows)
    order = torch.randperm(len(a))
    share = torch.rand(len(a), 1)
    hot = nn.functional.one_hot(b, 3).float()
    mixed = share * a + (1 - share) * a[order]
    return mixed, {labels}


train_loader = DataLoader(TensorDataset(x, y), 32, collate_fn=collate)
"""


STANDARDISED = """
MEAN, STD = 3 + x.mean(), 2 * x.std()
stored = {stored}


class Rows(Dataset):
    def __len__(self):
        return 256

    def __getitem__(self, i):
        return {given}, y[i]


train_loader = DataLoader(Rows(), 32)
"""


@pytest.mark.parametrize(
    ("stored", "given", "status"),
    [
        ("(x - MEAN) / STD", "(stored[i] - MEAN) / STD", WARN),
        ("(x - MEAN) / STD", "stored[i]", PASS),
        ("x", "(stored[i] - MEAN) / STD", PASS),
    ],
)
def test_the_same_constants_twice(tmp_path, monkeypatch, stored, given, status) -> None:
    file = tmp_path / "standardised_target.py"
    file.write_text(HEAD + STANDARDISED.format(stored=stored, given=given))
    monkeypatch.chdir(tmp_path)
    verdict = judged(InputScale(), Lab(load(LoadRequest(target=str(file))), device="cpu"))
    assert verdict.status is status
    if status is WARN:
        assert "twice" in verdict.message
        assert verdict.location is not None
        assert "stored[i]" in verdict.location.source


@pytest.mark.parametrize("label", ["y[i]", "y[i // 2]", "y[i - 1]"])
def test_targets_that_are_looked_up_elsewhere(tmp_path, monkeypatch, label) -> None:
    file = tmp_path / "lookup_target.py"
    source = STANDARDISED.format(stored="x", given="stored[i]").replace("y[i]", label)
    file.write_text(HEAD + source)
    monkeypatch.chdir(tmp_path)
    found = chains(Lab(load(LoadRequest(target=str(file))), device="cpu")).elsewhere
    assert (found is None) == (label == "y[i]")
    assert found is None or label in found.source


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (STREAM + LOOP.format(epochs=5), "read once"),
        (STREAM + LOOP.format(epochs=1), ""),
        (STREAM, ""),
        (MIXED.format(labels="hot"), "mixup"),
        (MIXED.format(labels="share * hot + (1 - share) * hot[order]"), ""),
        (MIXED.format(labels="torch.lerp(hot[order], hot, share)"), ""),
    ],
    ids=["epochs", "one-epoch", "no-loop", "labels-left", "labels-mixed", "lerp"],
)
def test_what_the_source_says_of_the_data(tmp_path, monkeypatch, source, word) -> None:
    file = tmp_path / "data_value_target.py"
    file.write_text(HEAD + source)
    monkeypatch.chdir(tmp_path)
    lab = Lab(load(LoadRequest(target=str(file))), device="cpu")
    verdict = judged(BatchContract(), lab)
    assert verdict.status is (WARN if word else PASS)
    assert word in verdict.message
    assert not word or verdict.location is not None
