"""Normalisation layers: planted mistakes, sound twins, traps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks.normalization import Norm, Normalization, Norms
from tests.nets import ConvNet, image_batches, made

CE = nn.CrossEntropyLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


class Momentum(ConvNet):
    def __init__(self, momentum) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8, momentum=momentum)


class Grouped(ConvNet):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 8)


def normed(lab_for, model, size: int = 16):
    lab = lab_for(model, image_batches(size=size), CE)
    return judged(Normalization(), lab)


def test_small_batches_and_the_momentum_of_keras_are_warned_of(lab_for) -> None:
    few = normed(lab_for, made(ConvNet), size=2)
    assert few.status is Status.WARN
    assert "over 2 samples" in few.message
    fast = normed(lab_for, made(Momentum, momentum=0.99))
    assert fast.status is Status.WARN
    assert "norm has momentum 0.99" in fast.message


def test_sound_normalisation_passes(lab_for) -> None:
    for model in (made(ConvNet), made(Momentum, momentum=None), made(Momentum, momentum=0.01)):
        assert normed(lab_for, model).status is Status.PASS
    leftover = [*image_batches(), tuple(part[:2] for part in image_batches(1)[0])]
    assert judged(Normalization(), lab_for(made(ConvNet), leftover, CE)).status is Status.PASS


def test_group_norm_and_frozen_norms_need_no_batch(lab_for) -> None:
    frozen = made(ConvNet)
    frozen.norm.requires_grad_(False)
    for model in (made(Grouped), frozen):
        with pytest.raises(NotApplicable, match="no batch normalisation"):
            normed(lab_for, model, size=2)


def test_a_cancelled_bias_is_noted_and_values_are_counted(lab_for) -> None:
    seen = Normalization().measure(lab_for(made(ConvNet), image_batches(), CE))
    (layer,) = seen.layers
    assert (layer.name, layer.biased, layer.positions) == ("norm", "conv", 16 * 8 * 8)
    verdict = Normalization().judge(seen)
    assert verdict.status is Status.PASS
    assert "the bias of conv is cancelled by norm" in verdict.message


class Frames(ConvNet):
    """Clips of frames, folded into the batch before the convolution."""

    def forward(self, x):
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)


def test_frames_that_are_folded_into_the_batch_count_as_samples(lab_for) -> None:
    clips = [(x.unflatten(0, (2, 8)), y[:2]) for x, y in image_batches()]
    assert judged(Normalization(), lab_for(made(Frames), clips, CE)).status is Status.PASS


LAYER = Norm("norm", "BatchNorm2d", 0.1, 1024, "")
USUAL = Norms((LAYER,), 5, None)


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (Normalization(), USUAL, Status.PASS),
        (Normalization(), replace(USUAL, rows=4), Status.WARN),
        (Normalization(), replace(USUAL, layers=(replace(LAYER, momentum=0.89),)), Status.PASS),
        (Normalization(), replace(USUAL, layers=(replace(LAYER, momentum=0.9),)), Status.WARN),
        (Normalization(), replace(USUAL, layers=(replace(LAYER, momentum=None),)), Status.PASS),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status
