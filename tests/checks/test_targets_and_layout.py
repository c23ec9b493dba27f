"""Scale of regression targets, order of pixels: planted mistakes, sound twins, traps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks.image_layout import ImageLayout, Layout
from recipe_check.checks.target_scale import Targets, TargetScale
from tests.nets import MLP, ConvNet, class_batches, image_batches, made

CE, MSE = nn.CrossEntropyLoss(), nn.MSELoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


def regression(mean: float, std: float):
    return [(x, mean + std * x[:, :1]) for x, _ in class_batches()]


def shifted(mean: float):
    model = made(MLP, classes=1)
    nn.init.constant_(model.head.bias, mean)
    return model


class Rescaling(MLP):
    def forward(self, x):
        return 5e4 + 2e4 * super().forward(x)


TARGETS = {
    "house-prices": (made(MLP, classes=1), regression(2e5, 5e4), Status.WARN),
    "wide-around-zero": (made(MLP, classes=1), regression(0, 40), Status.WARN),
    "standardised": (made(MLP, classes=1), regression(0, 1), Status.PASS),
    "years-of-age": (made(MLP, classes=1), regression(5, 3), Status.PASS),
    "bias-at-the-mean": (shifted(2e3), regression(2e3, 50), Status.PASS),
    "rescaled-inside": (made(Rescaling, classes=1), regression(6e4, 2e4), Status.PASS),
}


@pytest.mark.parametrize("case", TARGETS.values(), ids=TARGETS.keys())
def test_targets_against_untrained_outputs(lab_for, case) -> None:
    verdict = judged(TargetScale(), lab_for(case[0], case[1], MSE))
    assert verdict.status is case[2]
    assert ("times their size away" in verdict.message) is (case[2] is Status.WARN)


def test_a_classifier_has_no_target_scale(lab_for) -> None:
    with pytest.raises(NotApplicable, match="no regression loss"):
        TargetScale().measure(lab_for(made(MLP), class_batches(), CE))


class Colour(nn.Module):
    def __init__(self, change) -> None:
        super().__init__()
        self.change = change
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.conv(self.change(x)).mean((2, 3)))


def pictures(noise: bool = False):
    """Smooth HWC pictures whose channels differ, as photographs do."""
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 16)
    found = []
    for _ in range(3):
        turn, y = torch.rand(16, 1, 1, 3), torch.randint(0, 3, (16,))
        x = torch.sin(
            6 * (turn * ramp[:, None, None] + (1 - turn) * ramp[None, :, None])
            + y[:, None, None, None]
        )
        found.append((torch.rand_like(x) if noise else x + 0.05 * torch.randn_like(x), y))
    return found


LAYOUTS = {
    "view": (lambda x: x.view(-1, 3, 16, 16), Status.FAIL),
    "reshape": (lambda x: x.reshape(len(x), 3, 16, 16), Status.FAIL),
    "permute": (lambda x: x.permute(0, 3, 1, 2), Status.PASS),
    "transposed-sides": (lambda x: x.permute(0, 3, 2, 1), Status.PASS),
    "channels-reversed": (lambda x: x.permute(0, 3, 1, 2).flip(1), Status.PASS),
    "channels-last-memory": (
        lambda x: x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last), Status.PASS
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_order_of_pixels(lab_for, case) -> None:
    verdict = judged(ImageLayout(), lab_for(Colour(case[0]), pictures(), CE))
    assert verdict.status is case[1]
    if case[1] is Status.FAIL:
        assert "scrambled" in verdict.message
        assert "self.conv" in verdict.location.source


def test_noise_and_single_channels_have_no_order(lab_for) -> None:
    noise = lab_for(Colour(lambda x: x.permute(0, 3, 1, 2)), pictures(noise=True), CE)
    assert judged(ImageLayout(), noise).status is Status.PASS
    with pytest.raises(NotApplicable, match="two to four channels"):
        ImageLayout().measure(lab_for(made(ConvNet), image_batches(), CE))


AIMED = Targets(0.0, 1.0, -2.0, 2.0, 0.0, 0.5, None)


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (TargetScale(), AIMED, Status.PASS),
        (TargetScale(), replace(AIMED, mean=10.0), Status.PASS),
        (TargetScale(), replace(AIMED, mean=-10.1), Status.WARN),
        (TargetScale(), replace(AIMED, std=10.1), Status.WARN),
        (TargetScale(), replace(AIMED, mean=100.0, output_mean=91.0), Status.PASS),
        (ImageLayout(), Layout((8, 3, 9, 9), 0.1, 0.049, None), Status.FAIL),
        (ImageLayout(), Layout((8, 3, 9, 9), 0.1, 0.051, None), Status.WARN),
        (ImageLayout(), Layout((8, 3, 9, 9), 0.1, 0.079, None), Status.WARN),
        (ImageLayout(), Layout((8, 3, 9, 9), 0.1, 0.081, None), Status.PASS),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status
