"""The models that are timed, each with batches it can learn from, a loss and an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.speed_nets import GPT, Basic, Bottleneck, ResNet, next_token_loss

BATCHES = 12
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Setup:
    """What a training script has when its loop begins."""

    model: nn.Module
    batches: list[Batch]
    loss: Callable[..., torch.Tensor]
    optimizer: torch.optim.Optimizer

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def step(self) -> None:
        """One plain training step on the first batch."""
        x, y = self.batches[0]
        self.optimizer.zero_grad()
        self.loss(self.model(x), y).backward()
        self.optimizer.step()


class Recurrent(nn.Module):
    """An LSTM over tokens, a prediction at each."""

    def __init__(self, vocabulary: int = 65, width: int = 128) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embed(x))[0])


class Encoder(nn.Module):
    """A transformer encoder over vectors, one class for the sequence."""

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean(1))


def mlp(inside: int, width: int, depth: int, classes: int = 10) -> nn.Module:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = [nn.Linear(inside, width), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def convolutional(channels: int, width: int, size: int, classes: int = 10) -> nn.Module:
    """Two convolutions with batch normalisation, pooling after each, and a linear head."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * width * (size // 4) ** 2, classes),
    )  # fmt: skip


def vectors(batch: int, *shape: int, classes: int = 10) -> list[Batch]:
    """Noise whose first few values are raised for the class."""
    found = []
    for _ in range(BATCHES):
        x, y = torch.randn(batch, *shape), torch.randint(classes, (batch,))
        flat = x.view(batch, -1)
        span = max(flat.size(1) // (2 * classes), 1)
        for row, label in enumerate(y.tolist()):
            flat[row, span * label : span * (label + 1)] += 2
        found.append((x, y))
    return found


def tokens(batch: int, time: int, vocabulary: int) -> list[Batch]:
    """Each token is the one before plus one, from a random start."""
    starts = torch.randint(vocabulary, (BATCHES, batch, 1))
    codes = (starts + torch.arange(time + 1)) % vocabulary
    return [(x[:, :-1], x[:, 1:]) for x in codes]


def _setup(model: nn.Module, batches: list[Batch], loss: Any = None) -> Setup:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Setup(model, batches, loss or nn.CrossEntropyLoss(), optimizer)


def _gpt(vocabulary: int, batch: int, time: int, width: int, heads: int, depth: int) -> Setup:
    model = GPT(vocabulary, time, width, heads, depth)
    return _setup(model, tokens(batch, time, vocabulary), next_token_loss)


MAKERS: dict[str, Callable[[], Setup]] = {
    "MLP, 2 layers": lambda: _setup(mlp(16, 32, 2), vectors(32, 16)),
    "MLP, 4 layers": lambda: _setup(mlp(784, 512, 4), vectors(64, 784)),
    "CNN at 8 px": lambda: _setup(convolutional(1, 16, 8), vectors(64, 1, 8, 8)),
    "CNN at 32 px": lambda: _setup(convolutional(3, 32, 32), vectors(32, 3, 32, 32)),
    "LSTM": lambda: _setup(Recurrent(), tokens(16, 32, 65), next_token_loss),
    "transformer encoder": lambda: _setup(Encoder(), vectors(32, 32, 64)),
    "GPT, 0.4 M": lambda: _gpt(65, 16, 32, 96, 4, 3),
    "GPT, 10 M": lambda: _gpt(65, 4, 32, 384, 6, 6),
    "ResNet-18 at 64 px": lambda: _setup(
        ResNet(Basic, (2, 2, 2, 2), 10), vectors(8, 3, 64, 64)),
    "ResNet-50 at 224 px": lambda: _setup(
        ResNet(Bottleneck, (3, 4, 6, 3), 1000), vectors(32, 3, 224, 224, classes=1000)),
    "GPT-2 small": lambda: _gpt(50257, 8, 512, 768, 12, 12),
}  # fmt: skip
ON_A_CPU = tuple(MAKERS)[:9]
ON_A_GPU = tuple(MAKERS)[9:]


def make(name: str, seed: int = 0) -> Setup:
    """A fresh setup with seeded weights and batches."""
    torch.manual_seed(seed)
    return MAKERS[name]()
