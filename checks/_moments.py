"""Mean, deviation and range of each channel or feature, gathered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

MOST_FEATURES = 4096  # wider inputs are pooled into one


@dataclass
class Moments:
    """Running sums of one tensor over batches, a value for each channel (images: axis 1) or
    feature (last axis); float64. Non-finite values are left out."""

    count: torch.Tensor | None = None
    total: torch.Tensor | None = None
    square: torch.Tensor | None = None
    low: torch.Tensor | None = None
    high: torch.Tensor | None = None
    ndim: int = 0
    whole: bool = False  # integers, as raw pixels are

    def add(self, value: torch.Tensor) -> None:
        """Adds a batch; tensors of another width, complex or sparse ones are left out."""
        if value.is_complex() or value.layout is not torch.strided or not value.numel():
            return
        rows = _by_feature(value.detach()).double().cpu()
        finite = rows.isfinite()
        rows = torch.where(finite, rows, 0.0)
        if self.count is not None and len(self.count) != rows.shape[1]:
            return
        self.ndim, self.whole = value.ndim, not value.is_floating_point()
        news = (finite.sum(0).double(), rows.sum(0), (rows * rows).sum(0), rows.amin(0),
                rows.amax(0))  # fmt: skip
        if self.count is None:
            self.count, self.total, self.square, self.low, self.high = news
            return
        assert self.total is not None and self.square is not None
        assert self.low is not None and self.high is not None
        self.count, self.total = self.count + news[0], self.total + news[1]
        self.square = self.square + news[2]
        self.low, self.high = torch.minimum(self.low, news[3]), torch.maximum(self.high, news[4])

    @property
    def mean(self) -> torch.Tensor:
        """Mean of each feature; empty before the first batch."""
        if self.count is None or self.total is None:
            return torch.zeros(0, dtype=torch.float64)
        return self.total / self.count.clamp_min(1)

    @property
    def std(self) -> torch.Tensor:
        """Standard deviation of each feature (population)."""
        if self.count is None or self.square is None:
            return torch.zeros(0, dtype=torch.float64)
        variance = self.square / self.count.clamp_min(1) - self.mean**2
        # what is left of a constant after cancellation is no spread
        return torch.where(variance > 1e-10 * self.mean**2, variance, 0.0).clamp_min(0).sqrt()

    @property
    def overall(self) -> tuple[float, float]:
        """Mean and standard deviation over all features together."""
        if self.count is None or self.total is None or self.square is None:
            return 0.0, 0.0
        n = self.count.sum().clamp_min(1)
        mean = float(self.total.sum() / n)
        return mean, float((self.square.sum() / n - mean * mean).clamp_min(0)) ** 0.5


def _by_feature(value: torch.Tensor) -> torch.Tensor:
    """[positions, features]: channels of images, else the last axis; one feature for vectors."""
    if value.ndim < 2:
        return value.reshape(-1, 1)
    axis = 1 if value.ndim >= 4 and value.shape[1] <= value.shape[-1] else value.ndim - 1
    rows = value.movedim(axis, -1).flatten(0, -2)
    return rows if rows.shape[1] <= MOST_FEATURES else rows.reshape(-1, 1)
