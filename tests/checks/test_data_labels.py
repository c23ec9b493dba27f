"""Balance and noise of labels: planted mistakes, sound twins, traps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from recipe_check import NotApplicable, Status
from recipe_check.checks._neighbours import _fading, _linear
from recipe_check.checks.class_balance import Balance, ClassBalance
from recipe_check.checks.label_noise import LabelNoise, Neighbours
from tests.nets import MLP, TokenNet, class_batches, made, token_batches, token_loss

CE, BCE = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


def rare(every: int = 48, count: int = 24):
    """Two classes, one sample in `every` of the second."""
    torch.manual_seed(0)
    y = (torch.arange(16 * count) % every == 0).long()
    x = torch.randn(16 * count, 8) + 2 * y[:, None]
    return TensorDataset(x, y)


def two(loss=CE, every: int = 48, sampler=None, target=lambda y: y):
    x, y = rare(every).tensors
    return made(MLP, classes=2), DataLoader(TensorDataset(x, target(y)), 16, sampler=sampler), loss


def one(loss=BCE, **kwargs):
    _, loader, loss = two(loss, target=lambda y: y.float()[:, None], **kwargs)
    return made(MLP, classes=1), loader, loss


def focal(logits, y):
    log_p = logits.log_softmax(1).gather(1, y[:, None])[:, 0]
    return (-((1 - log_p.exp()) ** 2) * log_p).mean()


def drawn_evenly():
    y = rare().tensors[1]
    return WeightedRandomSampler((1 / torch.bincount(y).double())[y], len(y))


BALANCES = {
    "two-classes": (two(), Status.WARN),
    "one-output": (one(), Status.WARN),
    "class-weights": (two(nn.CrossEntropyLoss(torch.tensor([1.0, 47.0]))), Status.PASS),
    "pos-weight": (one(nn.BCEWithLogitsLoss(pos_weight=torch.tensor(47.0))), Status.PASS),
    "weight-in-a-function": (
        two(lambda o, y: F.cross_entropy(o, y, torch.tensor([1.0, 47.0]))), Status.PASS,
    ),
    "sampler": (two(sampler=drawn_evenly()), Status.PASS),
    "focal": (two(focal), Status.PASS),
    "nine-to-one": (two(every=9), Status.PASS),
    "even": (two(every=2), Status.PASS),
}  # fmt: skip


@pytest.mark.parametrize("case", BALANCES.values(), ids=BALANCES.keys())
def test_rare_classes_that_nothing_lifts_are_warned_of(lab_for, case) -> None:
    (model, loader, loss), status = case
    verdict = judged(ClassBalance(), lab_for(model, loader, loss))
    assert verdict.status is status
    if status is Status.WARN:
        assert "47 times as frequent" in verdict.message
        assert "pos_weight=47" in verdict.fix.text
        assert verdict.values["entropy"] == pytest.approx(0.101, abs=1e-3)


def test_a_long_tail_is_even_enough_and_a_missing_class_is_not(lab_for) -> None:
    torch.manual_seed(0)
    counts = torch.tensor([48, 24, 16, 12, 8, 4])  # 12 to 1, entropy 0.87 of the most
    y = torch.arange(6).repeat_interleave(counts)[torch.randperm(112)]
    for labels, status in ((y, Status.PASS), (torch.where(y == 2, 0, y), Status.WARN)):
        loader = DataLoader(TensorDataset(torch.randn(112, 8), labels), 16)
        verdict = judged(ClassBalance(each=16), lab_for(made(MLP, classes=6), loader, CE))
        assert verdict.status is status
    assert "1 of 6 classes never occur" in verdict.message


def test_tokens_and_made_targets_have_no_balance(lab_for) -> None:
    with pytest.raises(NotApplicable, match="one a sample"):
        ClassBalance().measure(lab_for(made(TokenNet), token_batches(), token_loss))

    def contrastive(output, _y):
        return F.cross_entropy(output @ output.T, torch.arange(len(output)))

    with pytest.raises(NotApplicable, match="does not take the labels"):
        ClassBalance().measure(lab_for(made(MLP), class_batches(), contrastive))


def test_placeholder_labels_of_a_training_step_are_no_classes(lab_for) -> None:
    """Two views and a zero, as image folders give them; a loss on the zeros still counts."""

    def agree(model, batch):
        views, _ = batch
        return -F.cosine_similarity(model(views[0]), model(views[1])).mean()

    def classify(model, batch):
        return F.cross_entropy(model(batch[0][0])[:, :2], batch[1])

    batches = [((x, x + 0.1), torch.zeros(16, dtype=torch.long)) for x, _ in class_batches()]
    with pytest.raises(NotApplicable, match="all the same"):
        ClassBalance().measure(lab_for(made(MLP), batches, training_step=agree))
    lab = lab_for(made(MLP), batches, training_step=classify)
    assert judged(ClassBalance(), lab).status is Status.WARN


def batched(x, y):
    x, y = torch.as_tensor(np.asarray(x), dtype=torch.float32), torch.as_tensor(np.asarray(y))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    return list(zip(x[order].split(64), y[order].long().split(64), strict=True))


def noise(lab_for, x, y):
    model = nn.Linear(x.shape[1], int(y.max()) + 1)
    return judged(LabelNoise(), lab_for(model, batched(x, y), CE))


def wrong(y, share: float, classes: int, seed: int = 0):
    random = np.random.default_rng(seed)
    flips = random.random(len(y)) < share
    return np.where(flips, random.integers(0, classes, len(y)), y)


def test_half_of_the_labels_drawn_at_random_are_warned_of(lab_for) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    blobs, side = datasets.make_blobs(1500, n_features=8, centers=2, random_state=0)
    for x, y, classes in ((digits.data, digits.target, 10), (blobs, side, 2)):
        assert noise(lab_for, x, y).status is Status.PASS
        verdict = noise(lab_for, x, wrong(y, 0.5, classes))
        assert verdict.status is Status.WARN
        assert "labels look random in part" in verdict.message


def overlapping():
    """Classes that overlap, or lie in many dimensions, with every label right."""
    datasets = pytest.importorskip("sklearn.datasets")
    random = np.random.default_rng(0)
    cancer = datasets.load_breast_cancer()
    yield "breast-cancer", cancer.data, cancer.target
    for separation in (0.1, 0.5, 1.0):
        yield (
            f"make_classification-{separation}",
            *datasets.make_classification(
                1500, 20, n_informative=5, n_redundant=0, class_sep=separation, random_state=0
            ),
        )
    yield "moons", *datasets.make_moons(1500, noise=0.4, random_state=0)
    yield "blobs", *datasets.make_blobs(1500, centers=4, cluster_std=3, random_state=0)
    for width in (8, 16, 20, 30, 50):
        x = random.normal(size=(1500, width))
        yield f"largest-of-three-in-{width}", x, x[:, :3].argmax(1)
        yield f"linear-teacher-in-{width}", x, (x @ random.normal(size=(width, 5))).argmax(1)
        yield f"sign-of-a-product-in-{width}", x, (x[:, 0] * x[:, 1] > 0).astype(int)


def test_right_labels_that_neighbours_do_not_tell_pass(lab_for) -> None:
    flagged = [name for name, x, y in overlapping() if noise(lab_for, x, y).status is Status.WARN]
    assert flagged == []


def test_small_sets_and_targets_of_another_kind_are_left_out(lab_for) -> None:
    with pytest.raises(NotApplicable, match="fewer than 300"):
        LabelNoise().measure(lab_for(made(MLP), class_batches(6), CE))
    with pytest.raises(NotApplicable, match="one class label"):
        LabelNoise().measure(lab_for(made(TokenNet), token_batches(), token_loss))


def test_the_linear_accuracy_and_the_fading_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    y = (x[:, 0] > -0.5).astype(int) + (x[:, 0] > 0.5)
    hits, ones = 0, np.ones((30, 1))
    for a, b in ((0, 1), (1, 0)):
        design = np.hstack([x[a::2], ones])
        stacked = np.vstack([design, np.sqrt(0.3) * np.eye(4)])
        wanted = np.vstack([np.eye(3)[y[a::2]], np.zeros((4, 3))])
        weights = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
        hits += int(((np.hstack([x[b::2], ones]) @ weights).argmax(1) == y[b::2]).sum())
    assert _linear(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(hits / 60)
    near = np.argsort(np.linalg.norm(x[:, None] - x[None], axis=2) + 1e9 * np.eye(60), 1)[:, :20]
    same = y[near] == y[:, None]
    close, far = same[:, :5].mean(), same[:, 10:].mean()
    expected = (close - far) / (close - (np.bincount(y) ** 2).sum() / 60**2)
    assert _fading(torch.from_numpy(y), torch.from_numpy(near)) == pytest.approx(expected)


SKEWED = Balance((1000, 20), "", True, True)
NOISY = Neighbours(1500, 4, 0.75, 1.4, 0.3, 0.2, 0.7)


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (ClassBalance(), SKEWED, Status.WARN),
        (ClassBalance(), replace(SKEWED, lifted="weights in the loss"), Status.PASS),
        (ClassBalance(), replace(SKEWED, known=False), Status.PASS),
        (ClassBalance(), replace(SKEWED, counts=(1000, 100)), Status.WARN),  # 0.44 of the entropy
        (ClassBalance(), replace(SKEWED, counts=(1000, 101)), Status.PASS),
        (ClassBalance(), replace(SKEWED, counts=(20,) + (1000,) * 7), Status.WARN),  # 50 to 1
        (ClassBalance(), replace(SKEWED, counts=(21,) + (1000,) * 7), Status.PASS),
        (ClassBalance(), replace(SKEWED, counts=(30, 30, 0)), Status.WARN),
        (ClassBalance(), replace(SKEWED, counts=(30, 29, 0)), Status.PASS),
        (ClassBalance(), replace(SKEWED, counts=(30, 30, 0), whole=False), Status.PASS),
        (ClassBalance(), replace(SKEWED, counts=(100,) * 100 + (0,)), Status.PASS),
        (LabelNoise(), NOISY, Status.WARN),
        (LabelNoise(), replace(NOISY, agreement=0.76), Status.PASS),
        (LabelNoise(), replace(NOISY, uneven=1.5), Status.PASS),
        (LabelNoise(), replace(NOISY, chance=0.56), Status.PASS),
        (LabelNoise(), replace(NOISY, fading=0.25), Status.PASS),
        (LabelNoise(), replace(NOISY, linear=0.79), Status.WARN),
        (LabelNoise(), replace(NOISY, linear=0.81), Status.PASS),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status
