"""The whole recipe on sound models of many tasks: no check fails, breaks or warns."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import Status
from recipe_check.plugins import build, check_classes, select
from recipe_check.runner import run_check
from tests.nets import class_batches, image_batches, made, token_batches

KINDS = check_classes()


class Segmenter(nn.Module):
    """A class for each pixel: [B, 1, 8, 8] to [B, 3, 8, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 16, 3, padding=1)
        self.up = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x):
        return self.up(F.relu(self.down(x)))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(32, 3)

    def forward(self, left, right):
        return self.head(F.relu(torch.cat((self.left(left), self.right(right)), 1)))


@dataclass
class Scores:
    logits: torch.Tensor
    features: torch.Tensor


class Structured(nn.Module):
    """The output is a dataclass, a dict or a tuple."""

    def __init__(self, form: str = "dataclass") -> None:
        super().__init__()
        self.form = form
        self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 3)

    def forward(self, x):
        features = F.relu(self.body(x))
        logits = self.head(features)
        if self.form == "dataclass":
            return Scores(logits, features)
        if self.form == "dict":
            return OrderedDict(logits=logits, features=features)
        return logits, features


class OwnLoss(nn.Module):
    """Scores itself, as transformers models do."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 3)

    def forward(self, x, labels=None):
        logits = self.head(F.relu(self.body(x)))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 32, dtype=torch.complex64) / 4)
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        mixed = x.to(torch.complex64) @ self.weight
        return self.head(F.relu(torch.cat((mixed.real, mixed.imag), 1)))


class Bag(nn.Module):
    """Sparse gradients: [B, T] token ids to 11 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(11, 32, sparse=True)
        self.head = nn.Linear(32, 11)

    def forward(self, x):
        return self.head(self.bag(x))


class Tied(nn.Module):
    """A language model whose decoder is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 32)
        self.rnn = nn.GRU(32, 32, batch_first=True)
        self.head = nn.Linear(32, 11, bias=False)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0])


class Mlp(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 32), nn.Linear(32, classes)

    def forward(self, x):
        return self.head(F.relu(self.body(x)))


def masks():
    return [(x, (x[:, 0] > 0.8).long() + (x[:, 0] > 1.8).long()) for x, _ in image_batches(12, 8)]


def classes(count: int = 24):
    return class_batches(count)


def doubles():
    return [(x.double(), y) for x, y in classes()]


def ignoring():
    return [(x, torch.where(torch.arange(len(y)) % 5 == 0, -100, y)) for x, y in classes()]


def tokens():
    return token_batches(12)


def flat_tokens(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


CASES = {
    "segmentation": (Segmenter, masks, nn.CrossEntropyLoss()),
    "two-inputs": (TwoInputs, lambda: [(x, x.flip(1), y) for x, y in classes()],
                   nn.CrossEntropyLoss()),
    "dataclass": (Structured, classes, lambda out, y: F.cross_entropy(out.logits, y)),
    "dict": (lambda: Structured("dict"), classes, lambda out, y: F.cross_entropy(out["logits"], y)),
    "tuple": (lambda: Structured("tuple"), classes, lambda out, y: F.cross_entropy(out[0], y)),
    "own-loss": (OwnLoss, lambda: [{"x": x, "labels": y} for x, y in classes()], None),
    "complex": (Complex, classes, nn.CrossEntropyLoss()),
    "sparse": (Bag, lambda: [(x, y[:, -1]) for x, y in tokens()], nn.CrossEntropyLoss()),
    "tied": (Tied, tokens, flat_tokens),
    "double": (lambda: Mlp().double(), doubles, nn.CrossEntropyLoss()),
    "ignore-index": (Mlp, ignoring, nn.CrossEntropyLoss()),
    "weights": (Mlp, classes, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.2, 0.9]))),
    "smoothing": (Mlp, classes, nn.CrossEntropyLoss(label_smoothing=0.1)),
    "two-losses": (Mlp, classes, lambda out, y: F.cross_entropy(out, y)
                   + 0.5 * F.multi_margin_loss(out, y)),
    "multilabel": (Mlp, lambda: [(x, (x[:, :3] > 0).float()) for x, _ in classes()],
                   nn.BCEWithLogitsLoss()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_sound_model_of_any_task_passes(lab_for, name: str) -> None:
    kind, batches, loss = CASES[name]
    lab = lab_for(made(kind), batches(), loss)
    assert lab.broken is None
    for id in select(KINDS):
        result = run_check(build(KINDS[id], {}), lab)
        assert result.status in (Status.PASS, Status.SKIP), f"{id}: {result.verdict.message}"
