"""Small networks and batches that the tests share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def class_batches(count: int = 6, size: int = 16, classes: int = 3, seed: int = 0):
    """Learnable: the class is the index of the largest of the first features."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        x = torch.randn(size, 8, generator=generator)
        found.append((x, x[:, :classes].argmax(1)))
    return found


def image_batches(count: int = 6, size: int = 16, seed: int = 0):
    """Learnable: a bright patch in one of four corners."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        x = 0.3 * torch.randn(size, 1, 8, 8, generator=generator)
        y = torch.randint(0, 4, (size,), generator=generator)
        for i, corner in enumerate(y.tolist()):
            row, column = 4 * (corner // 2), 4 * (corner % 2)
            x[i, 0, row : row + 4, column : column + 4] += 2
        found.append((x, y))
    return found


def token_batches(count: int = 6, size: int = 8, time: int = 12, vocabulary: int = 11):
    """Learnable: each token is the one before plus one, modulo the vocabulary."""
    found = []
    for number in range(count):
        start = (torch.arange(size) * 7 + number) % vocabulary
        codes = (start[:, None] + torch.arange(time + 1)) % vocabulary
        found.append((codes[:, :-1], codes[:, 1:]))
    return found


class MLP(nn.Module):
    """A healthy classifier: 8 features, 3 classes."""

    def __init__(self, width: int = 32, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Linear(8, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.body(x)))


class ConvNet(nn.Module):
    """A healthy image classifier with batch normalisation: 4 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 16, 4)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


class TokenNet(nn.Module):
    """A healthy next-token model over 11 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 16)
        self.rnn = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, 11)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(x))[0])


def token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def made(kind, seed: int = 0, **kwargs):
    """An instance with seeded weights."""
    torch.manual_seed(seed)
    return kind(**kwargs)
