"""Mistakes in data sets, samplers and splits: planted, their sound twins, and traps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)

from recipe_check import NotApplicable, Status
from recipe_check.checks.batch_contract import BatchContract
from recipe_check.checks.class_balance import ClassBalance
from recipe_check.checks.duplicates import Duplicates
from recipe_check.checks.image_layout import ImageLayout
from recipe_check.checks.input_scale import InputScale
from recipe_check.checks.loader_determinism import LoaderDeterminism
from tests.nets import MLP, class_batches, made

CE = nn.CrossEntropyLoss()
FAIL, WARN, PASS = Status.FAIL, Status.WARN, Status.PASS


def judged(check, lab):
    return check.judge(check.measure(lab))


def table(rows=320, columns=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator)
    return x, x[:, :3].argmax(1)


# -- a step that raises for its data


@pytest.mark.parametrize(
    ("x", "y", "model", "loss", "said"),
    [
        (torch.randn(64, 8), torch.randint(0, 3, (64,)).float(), MLP, CE, "int64"),
        (torch.randn(64, 8), torch.randint(0, 2, (64, 1)) > 0, None, nn.BCEWithLogitsLoss(),
         "float32"),
        (torch.randn(64, 8).double(), torch.randint(0, 3, (64,)), MLP, CE, "inputs as torch.float"),
    ],
    ids=["float-classes", "bool-targets", "float64-inputs"],
)  # fmt: skip
def test_a_dtype_that_stops_the_step_is_named(lab_for, x, y, model, loss, said) -> None:
    net = nn.Linear(8, 1) if model is None else made(model)
    verdict = judged(BatchContract(), lab_for(net, [(x, y)] * 2, loss))
    assert verdict.status is FAIL
    assert said in verdict.message


def test_a_model_that_raises_for_itself_is_not_the_data_s_fault(lab_for) -> None:
    net = nn.Sequential(nn.Linear(8, 4), nn.Linear(5, 3))
    assert judged(BatchContract(), lab_for(net, class_batches(), CE)).status is PASS


@pytest.mark.parametrize("place", [0, 5], ids=["first-batch", "later-batch"])
def test_token_ids_beyond_the_embedding_fail(lab_for, place) -> None:
    net = nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(48, 3))
    batches = [(torch.randint(0, 11, (8, 12)), torch.randint(0, 3, (8,))) for _ in range(6)]
    assert judged(BatchContract(), lab_for(net, batches, CE)).status is PASS
    batches[place][0][2, 3] = 11
    verdict = judged(BatchContract(), lab_for(net, batches, CE))
    assert verdict.status is FAIL
    assert "ids run from" in verdict.message


def test_ids_that_the_model_maps_itself_pass(lab_for) -> None:
    class Hashing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Embedding(11, 4), nn.Flatten(), nn.Linear(48, 3))

        def forward(self, ids):
            return self.body(ids % 11)

    batches = [(torch.randint(0, 500, (8, 12)), torch.randint(0, 3, (8,))) for _ in range(6)]
    assert judged(BatchContract(), lab_for(Hashing(), batches, CE)).status is PASS


def test_a_loader_without_a_batch_and_one_that_raises(lab_for) -> None:
    data = TensorDataset(*table(100))
    empty = DataLoader(data, batch_size=128, drop_last=True)
    verdict = judged(BatchContract(), lab_for(made(MLP), empty, CE))
    assert (verdict.status, "drop_last" in verdict.message) == (FAIL, True)

    class TooLong(TensorDataset):
        def __len__(self):
            return 120

    verdict = judged(BatchContract(), lab_for(made(MLP), DataLoader(TooLong(*table(100)), 10), CE))
    assert (verdict.status, "__len__" in verdict.message) == (FAIL, True)


# -- leaks


def test_a_column_that_is_the_target_is_warned_of(lab_for) -> None:
    x, y = table()
    clean = list(zip(x.split(16), y.split(16), strict=True))
    leaky = torch.cat([x, 3.0 * y[:, None] - 1], 1)
    batches = list(zip(leaky.split(16), y.split(16), strict=True))
    verdict = judged(BatchContract(), lab_for(nn.Linear(9, 3), batches, CE))
    assert (verdict.status, "feature 8" in verdict.message) == (WARN, True)
    assert judged(BatchContract(), lab_for(nn.Linear(8, 3), clean, CE)).status is PASS


@pytest.mark.parametrize(("noise", "status"), [(0.0, WARN), (0.05, PASS)], ids=["copy", "related"])
def test_a_regression_target_among_the_features(lab_for, noise, status) -> None:
    x, _ = table()
    y = 2 * x[:, 2:3] + 1 + noise * torch.randn(320, 1)
    batches = list(zip(x.split(16), y.split(16), strict=True))
    assert judged(BatchContract(), lab_for(nn.Linear(8, 1), batches, nn.MSELoss())).status is status


def test_a_line_through_one_feature_is_the_task_itself(lab_for) -> None:
    x = torch.randn(320, 1)
    batches = list(zip(x.split(16), (2 * x + 1).split(16), strict=True))
    assert judged(BatchContract(), lab_for(nn.Linear(1, 1), batches, nn.MSELoss())).status is PASS


# -- how much of the data is read


def test_a_sampler_that_reaches_few_samples_is_warned_of(lab_for) -> None:
    data = TensorDataset(*table(1000))
    for reached, status in ((20, WARN), (800, PASS)):
        loader = DataLoader(data, 10, sampler=SubsetRandomSampler(range(reached)))
        assert judged(BatchContract(), lab_for(made(MLP), loader, CE)).status is status


def test_a_split_the_wrong_way_round_is_warned_of(lab_for) -> None:
    data = TensorDataset(*table(1000))
    parts = (Subset(data, range(100)), Subset(data, range(100, 1000)))
    for (train, val), status in ((parts, WARN), (parts[::-1], PASS)):
        lab = lab_for(made(MLP), DataLoader(train, 20), CE, val_loader=DataLoader(val, 20))
        assert judged(BatchContract(), lab).status is status


def test_all_workers_that_read_the_whole_stream_fail(lab_for) -> None:
    class Stream(IterableDataset):
        def __init__(self, split):
            self.split = split

        def __iter__(self):
            x, y = table(200)
            info = get_worker_info()
            start, step = (info.id, info.num_workers) if info and self.split else (0, 1)
            yield from ((x[i], y[i]) for i in range(start, len(x), step))

    for split, status in ((False, FAIL), (True, PASS)):
        loader = DataLoader(Stream(split), 20, num_workers=2)
        assert judged(Duplicates(), lab_for(made(MLP), loader, CE)).status is status


def test_one_batch_again_and_again_is_warned_of(lab_for) -> None:
    batches = class_batches(8)
    assert judged(Duplicates(), lab_for(made(MLP), batches, CE)).status is PASS
    assert judged(Duplicates(), lab_for(made(MLP), batches[:1] * 8, CE)).status is WARN
    twice = batches + batches  # an epoch that goes over the data twice
    assert judged(Duplicates(), lab_for(made(MLP), twice, CE)).status is PASS


def test_a_class_that_was_copied_before_the_split_fails(lab_for) -> None:
    x, y = table(400)
    rare = (y == 0).nonzero().flatten()
    again = rare[torch.randint(0, len(rare), (900,))]
    rows = torch.cat([torch.arange(400), again])
    rows = rows[torch.randperm(len(rows))]
    data = TensorDataset(x, y)
    copied = [DataLoader(Subset(data, part.tolist()), 32) for part in (rows[:1000], rows[1000:])]
    lab = lab_for(made(MLP), copied[0], CE, val_loader=copied[1])
    assert judged(Duplicates(), lab).status is FAIL
    train, val = torch.arange(300), torch.arange(300, 400)
    grown = torch.cat([train, rare[rare < 300].repeat(6)])  # after the split
    loaders = [DataLoader(Subset(data, part.tolist()), 32) for part in (grown, val)]
    lab = lab_for(made(MLP), loaders[0], CE, val_loader=loaders[1])
    assert judged(Duplicates(), lab).status is PASS


# -- fetching again


class Fetched(Dataset):
    """Images [1, 8, 8] with what `change(image, target, stored)` makes of them."""

    def __init__(self, change, masks=False):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(200, 1, 8, 8, generator=generator)
        self.y = (self.x[:, 0] > 0).long() if masks else (self.x.mean((1, 2, 3)) > 0).long()
        self.change = change

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.change(self.x[i], self.y[i], self.x)


def flip_both(x, y, _):
    return (x.flip(-1), y.flip(-1)) if torch.rand(()) < 0.5 else (x, y)


def flip_image(x, y, _):
    return (x.flip(-1), y) if torch.rand(()) < 0.5 else (x, y)


def flip_mask(x, y, _):
    return (x, y.flip(-1)) if torch.rand(()) < 0.5 else (x, y)


@pytest.mark.parametrize(
    ("change", "masks", "status"),
    [
        (flip_both, True, PASS),
        (flip_image, True, FAIL),
        (flip_mask, True, FAIL),
        (flip_image, False, PASS),
        (lambda x, y, _: (x.sub_(0.5), y), False, FAIL),
        (lambda x, y, _: (x - 0.5, y), False, PASS),
        (lambda x, y, _: (x + 0.3 * torch.randn_like(x), y), False, PASS),
        (lambda _, y, stored: (stored[np.random.randint(len(stored))], y), False, FAIL),
    ],
    ids=["both", "image-alone", "mask-alone", "classes", "in-place", "a-copy", "noise", "another"],
)
def test_a_second_fetch(lab_for, change, masks, status) -> None:
    net = nn.Conv2d(1, 2, 1) if masks else nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    lab = lab_for(net, DataLoader(Fetched(change, masks), 20, shuffle=True), CE)
    assert judged(LoaderDeterminism(), lab).status is status


def test_validation_data_that_are_augmented_are_warned_of(lab_for) -> None:
    def noise(x, y, _):
        return x + 0.3 * torch.randn_like(x), y

    def none(x, y, _):
        return x, y

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    for change, augment, status in ((noise, True, WARN), (none, True, PASS), (noise, None, PASS)):
        train, val = (DataLoader(Fetched(c), 20) for c in (noise, change))
        val.dataset.augment = augment  # without a switch randomness is the task
        assert judged(LoaderDeterminism(), lab_for(net, train, CE, val_loader=val)).status is status


# -- inputs


def colours(seed):
    generator = torch.Generator().manual_seed(seed)
    level = torch.tensor([0.8, 0.5, 0.2]).view(1, 3, 1, 1)
    return level + 0.2 * torch.randn(128, 3, 8, 8, generator=generator)


def test_channels_in_another_order_are_warned_of(lab_for) -> None:
    y = torch.randint(0, 2, (128,))
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    for val, status in ((colours(1).flip(1), WARN), (colours(1), PASS)):
        loaders = [DataLoader(TensorDataset(x, y), 32) for x in (colours(0), val)]
        lab = lab_for(net, loaders[0], CE, val_loader=loaders[1])
        assert judged(InputScale(), lab).status is status


def test_swapped_constants_are_warned_of_and_standardised_columns_are_not(lab_for) -> None:
    raw = 5 + torch.randn(320, 4) * torch.tensor([0.5, 1.0, 2.0, 3.0])
    mean, std = raw.mean(0), raw.std(0)
    y = torch.randint(0, 2, (320,))
    cases = {"swapped": ((raw - std) / mean, WARN), "right": ((raw - mean) / std, PASS)}
    for x, status in cases.values():
        lab = lab_for(nn.Linear(4, 2), DataLoader(TensorDataset(x, y), 32), CE)
        assert judged(InputScale(), lab).status is status


def test_rows_taken_for_channels_are_warned_of(lab_for) -> None:
    ramp = torch.linspace(-1, 1, 16)
    smooth = (torch.randn(64, 1, 1, 3) + ramp[:, None, None] * torch.randn(64, 1, 1, 3)
              + ramp[:, None] * torch.randn(64, 1, 1, 3))  # fmt: skip
    y = torch.randint(0, 2, (64,))
    net = nn.Sequential(nn.Conv2d(16, 4, 3, padding=1), nn.Flatten(), nn.Linear(192, 2))
    lab = lab_for(net, DataLoader(TensorDataset(smooth, y), 16), CE)
    assert judged(ImageLayout(), lab).status is WARN
    noise = DataLoader(TensorDataset(torch.randn(64, 16, 16, 3), y), 16)
    with pytest.raises(NotApplicable, match="no images"):
        judged(ImageLayout(), lab_for(net, noise, CE))


# -- classes


def test_a_sampler_that_lifts_the_frequent_class_is_warned_of(lab_for) -> None:
    x = torch.randn(600, 8)
    y = (torch.arange(600) % 6 == 0).long()
    count = torch.bincount(y).double()
    generator = torch.Generator().manual_seed(0)
    for weights, status in ((count[y], WARN), (1 / count[y], PASS)):
        sampler = WeightedRandomSampler(weights.tolist(), 600, generator=generator)
        lab = lab_for(nn.Linear(8, 2), DataLoader(TensorDataset(x, y), 30, sampler=sampler), CE)
        verdict = judged(ClassBalance(), lab)
        assert verdict.status is status
        assert ("inverted" in verdict.message) is (status is WARN)


def test_one_hot_targets_have_classes_and_validation_may_have_more(lab_for) -> None:
    x, y = table(400)
    hot = nn.functional.one_hot(y, 6).float()
    lab = lab_for(nn.Linear(8, 6), DataLoader(TensorDataset(x, hot), 20), CE)
    verdict = judged(ClassBalance(), lab)
    assert (verdict.status, "3 of 6 classes never occur" in verdict.message) == (WARN, True)
    seen = y < 2
    loaders = [
        DataLoader(TensorDataset(*part), 20) for part in ((x[seen][:40], y[seen][:40]), (x, y))
    ]
    verdict = judged(
        ClassBalance(), lab_for(nn.Linear(8, 3), loaders[0], CE, val_loader=loaders[1])
    )
    assert (verdict.status, "validation samples are of these" in verdict.message) == (WARN, True)
