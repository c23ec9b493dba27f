"""Losses that are tried out: size, shapes, sign, range and targets; planted, healthy, traps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import Status
from recipe_check.checks.loss_contract import LossContract
from tests.nets import MLP, class_batches, made


def judged(lab):
    check = LossContract()
    return check.judge(check.measure(lab))


def values(shape=(16, 1), scale: float = 1.0):
    """A standardised value to predict."""
    return [(x, scale * (x[:, 0] - x[:, 1]).reshape(shape)) for x, _ in class_batches()]


def labels():
    """One of two labels for each sample."""
    return [(x, (x[:, 0] > 0).float()) for x, _ in class_batches()]


class Ends(nn.Module):
    """A regressor that ends in an operation."""

    def __init__(self, end) -> None:
        super().__init__()
        self.body, self.end = MLP(classes=1), end

    def forward(self, x):
        return self.end(self.body(x))


def gathered(logits, y):
    return logits.log_softmax(1).gather(1, y[:, None])


@pytest.mark.parametrize(
    ("loss", "status", "word"),
    [
        (lambda o, y: -gathered(o, y).sum(), Status.WARN, "summed over the batch"),
        (lambda o, y: -gathered(o, y).mean() / len(y), Status.WARN, "size twice"),
        (lambda o, y: -gathered(o, y).mean(), Status.PASS, ""),
        (lambda o, y: -gathered(o, y).sum() / len(y), Status.PASS, ""),
        (lambda o, y: F.cross_entropy(o, y, reduction="sum"), Status.WARN, "summed"),
        (lambda o, y: 1e-6 * F.cross_entropy(o, y), Status.WARN, "scaled"),
        (lambda o, y: 0.25 * F.cross_entropy(o, y), Status.PASS, ""),
        (lambda o, y: F.cross_entropy(o, y, reduction="sum") / 5000, Status.WARN, "summed"),
        (lambda o, y: -gathered(o + torch.randn_like(o), y).sum(), Status.PASS, ""),
    ],
)
def test_how_the_loss_grows_with_the_batch(lab_for, loss, status, word) -> None:
    verdict = judged(lab_for(made(MLP), class_batches(), loss))
    assert verdict.status is status
    assert word in verdict.message


def focal(power):
    def loss(logits, y):
        logp = gathered(logits, y)
        return -(power(logp.exp()) * logp).mean()

    return loss


@pytest.mark.parametrize(
    ("loss", "status"),
    [
        (lambda o, y: gathered(o, y).mean(), Status.FAIL),
        (focal(lambda p: p**2), Status.WARN),
        (focal(lambda p: (1 - p) ** 2), Status.PASS),
        (lambda o, y: -torch.log(1 - o.softmax(1).gather(1, y[:, None]) + 1e-6).mean(),
         Status.WARN),  # complementary labels: unusual, and may be meant so
        (lambda o, y: 1 - o.softmax(1).gather(1, y[:, None]).mean(), Status.PASS),
    ],
)  # fmt: skip
def test_the_sign_of_losses_over_classes(lab_for, loss, status) -> None:
    verdict = judged(lab_for(made(MLP), class_batches(), loss))
    assert verdict.status is status
    assert ("sign" in verdict.message) == (status is not Status.PASS)


def dice(logits, y):
    p = logits.sigmoid().flatten()
    return (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


@pytest.mark.parametrize(
    ("loss", "status"),
    [
        (dice, Status.WARN),
        (lambda o, y: 1 - dice(o, y), Status.PASS),
        (lambda o, y: F.relu(1 + (2 * y - 1) * o.flatten()).mean(), Status.WARN),
        (lambda o, y: F.relu(1 - (2 * y - 1) * o.flatten()).mean(), Status.PASS),
    ],
)
def test_the_sign_of_losses_over_two_labels(lab_for, loss, status) -> None:
    assert judged(lab_for(made(MLP, classes=1), labels(), loss)).status is status


@pytest.mark.parametrize(
    ("loss", "status"),
    [
        (lambda o, y: -((o - y) ** 2).mean(), Status.FAIL),
        (lambda o, y: torch.distributions.Normal(o, 1.0).log_prob(y).mean(), Status.FAIL),
        (lambda o, y: -torch.distributions.Normal(o, 1.0).log_prob(y).mean(), Status.PASS),
        (lambda o, y: torch.maximum(0.9 * (y - o), -0.1 * (y - o)).mean(), Status.PASS),
        (lambda o, y: -torch.exp(-((o - y) ** 2)).mean(), Status.PASS),
        (lambda o, y: ((o.exp() - y) ** 2).mean(), Status.PASS),
        (lambda o, y: -o.mean(), Status.PASS),  # a critic's score
    ],
)
def test_the_sign_of_losses_over_values(lab_for, loss, status) -> None:
    assert judged(lab_for(made(MLP, classes=1), values(), loss)).status is status


class Coded(nn.Module):
    """A reconstruction, and mean and log variance of its code."""

    def __init__(self) -> None:
        super().__init__()
        self.mean, self.width, self.back = nn.Linear(8, 2), nn.Linear(8, 2), nn.Linear(2, 8)

    def forward(self, x):
        return self.back(self.mean(x)), self.mean(x), self.width(x)


def test_a_divergence_with_its_sign_flipped(lab_for) -> None:
    def step(sign):
        def training_step(model, batch):
            back, mean, width = model(batch[0])
            kl = -0.5 * (1 + width - mean**2 - width.exp()).sum(1).mean()
            return F.mse_loss(back, batch[0]) + sign * kl

        return training_step

    for sign, status in ((-1.0, Status.FAIL), (1.0, Status.PASS)):
        verdict = judged(lab_for(made(Coded), class_batches(), training_step=step(sign)))
        assert verdict.status is status
        assert ("no lowest value" in verdict.message) == (sign < 0)


def test_broadcasting_in_a_loss_by_hand(lab_for) -> None:
    def wrong(o, y):
        return (o - y).abs().mean()

    def right(o, y):
        return (o.squeeze(1) - y).abs().mean()

    def ranking(o, y):  # all pairs on purpose
        gaps = (o - o.T) * torch.sign(y[:, None] - y[None])
        return F.softplus(-gaps).mean()

    for loss, status in ((wrong, Status.FAIL), (right, Status.PASS), (ranking, Status.PASS)):
        verdict = judged(lab_for(made(MLP, classes=1), values((16,)), loss))
        assert verdict.status is status
        assert ("broadcast" in verdict.message) == (loss is wrong)


class Squashed(nn.Module):
    def __init__(self, end: str) -> None:
        super().__init__()
        self.body, self.end = MLP(), end

    def forward(self, x):
        scores = self.body(x)
        return getattr(torch, self.end)(scores, 1) if self.end else scores


def test_scores_that_are_normalised_twice_or_over_the_wrong_axis(lab_for) -> None:
    def again(o, y):
        return (o.logsumexp(1) - o.gather(1, y[:, None]).flatten()).mean()

    def over_samples(o, y):
        return -o.log_softmax(0).gather(1, y[:, None]).mean()

    for end, loss, word in (
        ("softmax", again, "the model ends in softmax"),
        ("", again, ""),
        ("log_softmax", again, ""),  # idempotent
        ("", over_samples, "wrong axis"),
    ):
        verdict = judged(lab_for(Squashed(end), class_batches(), loss))
        assert verdict.status is (Status.FAIL if word else Status.PASS)
        assert word in verdict.message


@pytest.mark.parametrize(
    ("end", "loss", "status"),
    [
        (torch.tanh, nn.MSELoss(), Status.FAIL),
        (torch.sigmoid, lambda o, y: (o - y).abs().mean(), Status.FAIL),
        (F.softplus, nn.HuberLoss(), Status.FAIL),
        (lambda x: 9 * torch.tanh(x), nn.MSELoss(), Status.PASS),
        (torch.sigmoid, lambda o, y: (o - (y + 12) / 24).abs().mean(), Status.PASS),
    ],
)
def test_targets_that_the_last_activation_cannot_give(lab_for, end, loss, status) -> None:
    verdict = judged(lab_for(Ends(end), values(scale=2.0), loss))
    assert verdict.status is status
    assert ("outside the range" in verdict.message) == (status is Status.FAIL)


def test_dropout_and_normalisation_right_before_the_loss(lab_for) -> None:
    for end, word in (
        (nn.Dropout(0.3), "dropout right before"),
        (nn.Dropout(0.0), ""),
        (nn.BatchNorm1d(1, affine=False), "normalisation right before"),
        (nn.BatchNorm1d(1), ""),
    ):
        verdict = judged(lab_for(Ends(end), values(), nn.MSELoss()))
        assert verdict.status is (Status.WARN if word else Status.PASS)
        assert word in verdict.message


def test_clamped_scores(lab_for) -> None:
    class Clamped(MLP):
        bounds = (0.0, 1.0)

        def forward(self, x):
            return super().forward(x).clamp(*self.bounds)

    wide = made(Clamped)
    wide.bounds = (-30.0, 30.0)
    for model, status in ((made(Clamped), Status.FAIL), (wide, Status.PASS)):
        assert judged(lab_for(model, class_batches(), nn.CrossEntropyLoss())).status is status


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 16), nn.Linear(16, 5)

    def forward(self, tokens):
        return self.head(self.embed(tokens)).transpose(1, 2)


def sentences():
    """Words from 1, padded with 0 to twelve; tags from 1, padded with 0."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1, 20, (16, 12), generator=generator)
    lengths = torch.randint(3, 13, (16, 1), generator=generator)
    words = words * (torch.arange(12) < lengths)
    return [(words, torch.where(words > 0, words % 4 + 1, 0))] * 3


def test_padding_and_classes_that_are_left_out(lab_for) -> None:
    full = [(w.clamp_min(1), w.clamp_min(1) % 5) for w, _ in sentences()]
    for batches, index, word in (
        (sentences(), -100, "padding is scored"),
        (sentences(), 0, ""),
        (full, 0, "left out"),
        (full, -100, ""),
    ):
        loss = nn.CrossEntropyLoss(ignore_index=index)
        verdict = judged(lab_for(made(Tagger), batches, loss))
        assert verdict.status is (Status.WARN if word else Status.PASS)
        assert word in verdict.message
    rows = judged(lab_for(made(MLP), class_batches(), nn.CrossEntropyLoss(ignore_index=0)))
    assert rows.status is Status.WARN


def test_label_smoothing_that_hides_the_label(lab_for) -> None:
    def by_hand(weight):
        return lambda o, y: F.cross_entropy(o, (1 - weight) * F.one_hot(y, 3) + weight / 3)

    for loss, status in (
        (nn.CrossEntropyLoss(label_smoothing=0.9), Status.WARN),
        (nn.CrossEntropyLoss(label_smoothing=0.1), Status.PASS),
        (by_hand(0.9), Status.WARN),
        (by_hand(0.1), Status.PASS),
    ):
        assert judged(lab_for(made(MLP), class_batches(), loss)).status is status


def test_logarithms_of_negative_numbers_and_overflows(lab_for) -> None:
    def log_error(o, y):
        return F.mse_loss(torch.log1p(o), torch.log1p(y.clamp_min(0)))

    def weights(o, y):
        e = o.exp()
        return -((e / e.sum(1, keepdim=True)).gather(1, y[:, None]) + 1e-8).log().mean()

    counts = [(x, y.abs()) for x, y in values()]
    found = judged(lab_for(made(MLP, classes=1), counts, log_error))
    assert "negative number" in found.message
    assert judged(lab_for(Ends(F.softplus), counts, log_error)).status is Status.PASS
    assert "overflows" in judged(lab_for(made(MLP), class_batches(), weights)).message

    def poisson(o, y):
        return (o.exp() - y * o).mean()

    assert judged(lab_for(made(MLP, classes=1), counts, poisson)).status is Status.PASS


def test_softmax_over_labels_that_do_not_exclude_each_other(lab_for) -> None:
    several = [(x, (x[:, :3] > 0).float()) for x, _ in class_batches()]
    one = [(x, F.one_hot(y, 3).float()) for x, y in class_batches()]
    for batches, end, status in (
        (several, "softmax", Status.FAIL),
        (one, "softmax", Status.PASS),
        (several, "sigmoid", Status.PASS),
    ):
        model = Squashed("softmax") if end == "softmax" else nn.Sequential(MLP(), nn.Sigmoid())
        assert judged(lab_for(model, batches, nn.BCELoss())).status is status


def test_a_constant_that_flattens_the_scores(lab_for) -> None:
    for constant, status in ((1000.0, Status.WARN), (2.0, Status.PASS), (0.07, Status.PASS)):

        def loss(o, y, constant=constant):
            return F.cross_entropy(o / constant, y)

        assert judged(lab_for(made(MLP), class_batches(), loss)).status is status


def test_a_step_that_cannot_be_tried_out_is_left_alone(lab_for) -> None:
    def two_calls(model, batch):
        one, two = model(batch[0]), model(batch[0].flip(0)).flip(0)
        return (one - two).pow(2).sum(1).mean() - gathered(one, batch[1]).mean()

    class Own(MLP):
        def forward(self, x, labels):
            return -gathered(super().forward(x), labels).sum()

    assert (
        judged(lab_for(made(MLP), class_batches(), training_step=two_calls)).status is Status.PASS
    )
    batches = [{"x": x, "labels": y} for x, y in class_batches()]
    verdict = judged(lab_for(made(Own), batches))
    assert verdict.status is Status.WARN
    assert ".sum()" in verdict.location.source
