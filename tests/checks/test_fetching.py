"""Fetching the same index again: planted mistakes, sound twins, traps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from recipe_check import NotApplicable, Status
from recipe_check.checks._fetches import _redrawn
from recipe_check.checks.loader_determinism import Fetches, LoaderDeterminism
from tests.nets import MLP, ConvNet, TokenNet, class_batches, image_batches, made, token_loss

CE = nn.CrossEntropyLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


def samples(batches):
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


class Changing(Dataset):
    """Samples passed through `change(x, y, rng)`; `rng` is the data set's own generator."""

    def __init__(self, change, batches=None) -> None:
        self.x, self.y = samples(batches or class_batches())
        self.change = change
        self.rng = np.random.RandomState(0)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.change(self.x[i], self.y[i], self.rng)


def random_label(x, y, rng):
    return x, torch.randint(0, 3, ())


def sometimes_wrong(x, y, rng):
    return x, y if torch.rand(()) < 0.8 else torch.randint(0, 3, ())


def numpy_label(x, y, rng):
    return x, torch.tensor(np.random.randint(3))


def jitter(x, y, rng):
    return x + 0.1 * torch.randn_like(x), y


def buried(x, y, rng):
    return x + 10 * torch.randn_like(x), y


def rotation(x, y, rng):
    turns = int(torch.randint(0, 4, ()))
    return torch.rot90(x, turns, (-2, -1)), torch.tensor(turns)


def cropped(x, y, rng):
    top, left = torch.randint(0, 3, (2,)).tolist()
    return nn.functional.pad(x, (1, 1, 1, 1))[..., top : top + 8, left : left + 8], y


def waves(count: int = 6):
    """Recordings of one tone each: the class is the pitch, the phase says nothing."""
    torch.manual_seed(0)
    time = torch.arange(400) / 100
    pitch = torch.randint(0, 4, (count, 16))
    return [(torch.sin(6.28 * ((3 + 4 * y[:, None]) * time + torch.rand(16, 1))), y) for y in pitch]


def clip(x, y, rng):
    start = int(torch.randint(0, 300, ()))
    return x[start : start + 100] + 0.1 * torch.randn(100), y


def clouds(count: int = 6):
    """Points on ellipsoids: the class is the longest axis."""
    torch.manual_seed(0)
    found = []
    for y in torch.randint(0, 3, (count, 16)):
        axes = 1 + 2 * nn.functional.one_hot(y, 3)[:, None]
        found.append((nn.functional.normalize(torch.randn(16, 500, 3), dim=2) * axes, y))
    return found


def some_points(x, y, rng):
    return x[torch.randperm(500)[:64]].T, y


def mixed_up(x, y, rng):
    share = torch.rand(())
    return share * x + (1 - share) * x.flip(0), torch.stack((share, 1 - share, share * 0))


def masked(x, y, rng):
    hidden = torch.rand(12) < 0.15
    codes = torch.arange(12) % 11
    return torch.where(hidden, 0, codes), torch.where(hidden, codes, -100)


def unchanged(x, y, rng):
    return x, y


def noise_alone(x, y, rng):
    return x + 20 * torch.randn_like(x), y


def seen(lab_for, change, model=MLP, batches=None, loss=CE, workers=0):
    loader = DataLoader(Changing(change, batches), 16, num_workers=workers)
    return judged(LoaderDeterminism(), lab_for(made(model), loader, loss))


@pytest.mark.parametrize("change", [random_label, sometimes_wrong, numpy_label])
def test_labels_that_change_under_the_same_input_fail(lab_for, change) -> None:
    verdict = seen(lab_for, change)
    assert verdict.status is Status.FAIL
    assert "change their label between two fetches" in verdict.message


def test_an_augmentation_that_buries_the_sample_is_warned_of(lab_for) -> None:
    verdict = seen(lab_for, buried)
    assert verdict.status is Status.WARN
    assert "augmentation redraws 9" in verdict.message
    for batches, model in ((waves(), lambda: nn.Linear(400, 4)), (image_batches(), ConvNet)):
        assert seen(lab_for, noise_alone, model, batches).status is Status.WARN


SOUND = {
    "none": (unchanged, MLP, None, CE),
    "jitter": (jitter, MLP, None, CE),
    "rotation-prediction": (rotation, ConvNet, image_batches(), CE),
    "random-crops-and-flips": (cropped, ConvNet, image_batches(), CE),
    "random-clips-of-sound": (clip, lambda: nn.Linear(100, 4), waves(), CE),
    "random-points-of-a-cloud": (
        some_points,
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 3)),
        clouds(),
        CE,
    ),
    "mixup": (mixed_up, MLP, None, CE),
    "masked-tokens": (masked, TokenNet, None, token_loss),
}


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
def test_augmentations_and_tasks_that_are_sound_pass(lab_for, case) -> None:
    assert seen(lab_for, *case).status is Status.PASS


def own_generator(x, y, rng):
    return x + torch.from_numpy(0.1 * rng.randn(8)).float(), y


def test_workers_that_copy_one_generator_are_warned_of(lab_for) -> None:
    verdict = seen(lab_for, own_generator, workers=2)
    assert verdict.status is Status.WARN
    assert "2 workers draw the same augmentations" in verdict.message
    assert seen(lab_for, own_generator, workers=0).status is Status.PASS  # a single stream
    assert seen(lab_for, jitter, workers=2).status is Status.PASS
    assert seen(lab_for, unchanged, workers=2).status is Status.PASS


class Stream(IterableDataset):
    def __iter__(self):
        return iter(class_batches())


def test_lists_and_streams_have_no_index(lab_for) -> None:
    for loader in (class_batches(), DataLoader(Stream(), batch_size=None)):
        with pytest.raises(NotApplicable, match="map-style"):
            LoaderDeterminism().measure(lab_for(made(MLP), loader, CE))


def test_the_user_s_random_numbers_are_left_alone(lab_for) -> None:
    lab = lab_for(made(MLP), DataLoader(TensorDataset(*samples(class_batches())), 16), CE)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    LoaderDeterminism().measure(lab)
    assert torch.equal(torch.rand(4), expected)


def test_the_redrawn_share_is_that_of_numpy() -> None:
    torch.manual_seed(0)
    base = torch.randn(512, 8)
    first, second = (base + 2 * torch.randn(512, 8) for _ in range(2))
    a, b = first.numpy().astype(np.float64), second.numpy().astype(np.float64)
    expected = ((a - b) ** 2).mean(0).sum() / 2 / a.var(0).sum()
    assert _redrawn([first, second]) == pytest.approx(expected)
    assert expected == pytest.approx(0.8, abs=0.05)  # noise of 4 in a variance of 5


KEPT = Fetches(32, 0, 32, 0.5, True, None, 0)


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (KEPT, Status.PASS),
        (replace(KEPT, flipped=1), Status.FAIL),
        (replace(KEPT, noise=0.92), Status.PASS),
        (replace(KEPT, noise=0.93), Status.WARN),
        (replace(KEPT, noise=0.99, labels_kept=False), Status.PASS),
        (replace(KEPT, twins=True, workers=2), Status.WARN),
        (replace(KEPT, twins=False, workers=2), Status.PASS),
    ],
)
def test_judge_around_its_thresholds(seen, status) -> None:
    assert LoaderDeterminism().judge(seen).status is status
