"""Views that move an axis, attention without positions or scale, shared norms, random states,
decoders that see their answers: planted mistakes, sound twins, traps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks._moved_axes import moved_axis
from recipe_check.checks._positions import blind_to_order
from recipe_check.checks.dropout import Dropout
from recipe_check.checks.image_layout import ImageLayout
from recipe_check.checks.normalization import Normalization
from recipe_check.checks.time_dependency import TimeDependency
from tests.nets import made

CE = nn.CrossEntropyLoss()


def judged(check, lab):
    return check.judge(check.measure(lab))


# shapes before and after, with a batch of 5; the size of the axis that moved
MOVES = [
    ((5, 30, 6), (5, 6, 30), 30),  # (time, channel) read as (channel, time)
    ((5, 20, 32), (5, 4, 20, 8), 20),  # heads split without a transpose
    ((5, 4, 20, 8), (5, 20, 32), 20),  # and merged
    ((5, 16, 4, 9), (5, 9, 64), 9),  # columns of a feature map as steps
    ((5, 20, 32), (5, 20, 4, 8), 0),
    ((5, 20, 4, 8), (5, 20, 32), 0),
    ((5, 16, 8, 8), (5, 1024), 0),
    ((5, 3, 32, 32), (5, 3, 8, 4, 8, 4), 0),
    ((5, 30, 1), (5, 1, 30), 0),
    ((35, 6), (5, 7, 6), 0),
    ((2, 5, 24), (5, 48), 0),  # the batch itself: batch-dependency says so
    ((5, 2, 2, 4, 4, 12), (20, 16, 12), 0),  # windows
]


@pytest.mark.parametrize(("before", "after", "size"), MOVES)
def test_an_axis_that_a_view_moved_is_told_from_splits_and_merges(before, after, size) -> None:
    assert moved_axis(before, after, 5) == size


class Sensor(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv, self.fc = nn.Conv1d(6, 8, 3), nn.Linear(8, 3)

    def forward(self, x):
        x = x.view(len(x), 6, 30) if self.how == "view" else x.transpose(1, 2)
        return self.fc(self.conv(x).relu().mean(-1))


class Relative(nn.Module):
    """Sound: scores by relative position, shifted row by row as in Transformer-XL."""

    def __init__(self) -> None:
        super().__init__()
        self.codes, self.fc = nn.Parameter(torch.randn(6, 30)), nn.Linear(6, 3)

    def forward(self, x):
        scores = x @ self.codes
        wide = F.pad(scores, (1, 0)).view(len(x), 31, 30)
        shifted = wide[:, 1:].view_as(scores)
        return self.fc((shifted.softmax(-1) @ x).mean(1))


def test_relative_positions_may_be_shifted_by_views(lab_for) -> None:
    batches = [(torch.randn(5, 30, 6), torch.randint(3, (5,))) for _ in range(2)]
    with pytest.raises(NotApplicable):
        judged(ImageLayout(), lab_for(Relative(), batches, CE))


def test_a_view_that_swaps_time_and_channels_is_warned_of(lab_for) -> None:
    batch = (torch.randn(16, 30, 6), torch.randint(0, 3, (16,)))
    verdict = judged(ImageLayout(), lab_for(made(Sensor, how="view"), [batch], CE))
    assert verdict.status is Status.WARN
    assert "x.view(len(x), 6, 30)" in verdict.location.source
    with pytest.raises(NotApplicable):
        judged(ImageLayout(), lab_for(made(Sensor, how="transpose"), [batch], CE))


class Attending(nn.Module):
    """Self-attention over tokens or patches; `positions` None has none, 0 starts from zeros."""

    def __init__(self, positions: float | None, *, patches: bool = False, scale: float = 1.0):
        super().__init__()
        self.enter = nn.Conv2d(1, 16, 4, 4) if patches else nn.Embedding(12, 16)
        self.places = None if positions is None else nn.Parameter(torch.randn(16, 16) * positions)
        self.q, self.k, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.scale = scale

    def forward(self, x):
        h = self.enter(x)
        h = h.flatten(2).transpose(1, 2) if h.ndim == 4 else h
        h = h if self.places is None else h + self.places
        weights = (self.q(h) @ self.k(h).transpose(1, 2) * self.scale).softmax(-1)
        return self.head((weights @ h).mean(1))


PICTURES = [(torch.randn(8, 1, 16, 16), torch.randint(0, 3, (8,)))]
TOKENS = [(torch.randint(0, 12, (8, 16)), torch.randint(0, 3, (8,)))]


def test_patches_without_positions_are_warned_of(lab_for) -> None:
    verdict = judged(
        Normalization(), lab_for(made(Attending, positions=None, patches=True), PICTURES, CE)
    )
    assert verdict.status is Status.WARN
    assert "the patches" in verdict.message
    for positions in (0.5, 0.0):
        sound = made(Attending, positions=positions, patches=True)
        with pytest.raises(NotApplicable):
            judged(Normalization(), lab_for(sound, PICTURES, CE))


def test_a_bag_of_words_may_do_without_an_order(lab_for) -> None:
    lab = lab_for(made(Attending, positions=None), TOKENS, CE)
    assert blind_to_order(lab) is not None
    assert not blind_to_order(lab).matters
    with pytest.raises(NotApplicable):
        judged(Normalization(), lab)
    assert blind_to_order(lab_for(made(Attending, positions=0.0), TOKENS, CE)) is None


def test_attention_that_is_saturated_before_training_is_warned_of(lab_for) -> None:
    verdict = judged(
        Normalization(), lab_for(made(Attending, positions=0.5, scale=300.0), TOKENS, CE)
    )
    assert verdict.status is Status.WARN
    assert "one key takes" in verdict.message
    assert "self.q(h) @ self.k(h)" in verdict.location.source


class Convs(nn.Module):
    def __init__(self, *, shared: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.other = self.norm if shared else nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.a(x)).relu()
        return self.head(self.other(self.b(x)).relu().mean((2, 3)))


class Views(nn.Module):
    """The trap: one backbone, norm and all, for two views of each picture."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Convs(shared=False)

    def forward(self, x):
        return self.net(x) + self.net(x.flip(3))


def test_one_batch_norm_for_several_layers_is_warned_of(lab_for) -> None:
    verdict = judged(Normalization(), lab_for(made(Convs, shared=True), PICTURES, CE))
    assert verdict.status is Status.WARN
    assert "norm follows 2 layers" in verdict.message
    for sound in (made(Convs, shared=False), made(Views)):
        assert judged(Normalization(), lab_for(sound, PICTURES, CE)).status is Status.PASS


class Reader(nn.Module):
    def __init__(self, start: str) -> None:
        super().__init__()
        self.start = start
        self.gru, self.fc = nn.GRU(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        make = torch.randn if self.start == "noise" else torch.zeros
        x = x + torch.randn_like(x) if self.start == "noisy input" else x
        return self.fc(self.gru(x, make(1, len(x), 8))[0][:, -1])


def test_a_recurrent_state_of_noise_is_warned_of(lab_for) -> None:
    batch = (torch.randn(16, 10, 6), torch.randint(0, 3, (16,)))
    verdict = judged(Dropout(), lab_for(made(Reader, start="noise"), [batch], CE))
    assert verdict.status is Status.WARN
    assert "starts from noise" in verdict.message
    for start in ("zeros", "noisy input"):
        assert (
            judged(Dropout(), lab_for(made(Reader, start=start), [batch], CE)).status is Status.PASS
        )


class Translator(nn.Module):
    """Reads a source, and says the target word by word."""

    def __init__(self, *, masked: bool = True) -> None:
        super().__init__()
        self.masked = masked
        self.embed, self.fc = nn.Embedding(12, 16), nn.Linear(16, 12)
        self.places = nn.Parameter(torch.randn(9, 16))

    def forward(self, source, said):
        h = self.embed(said) + self.places[: said.shape[1]] + self.embed(source).mean(1, True)
        return self.fc(F.scaled_dot_product_attention(h, h, h, is_causal=self.masked))


def translated(lab_for, model, first: int, last: int | None):
    def step(model, batch):
        source, target = batch
        out = model(source, target[:, first:last])
        return F.cross_entropy(out.flatten(0, 1), target[:, 1:].flatten())

    batches = [(torch.randint(0, 12, (8, 6)), torch.randint(0, 12, (8, 10))) for _ in range(2)]
    return judged(TimeDependency(), lab_for(model, batches, training_step=step))


def test_a_decoder_that_sees_what_it_is_to_say_is_found(lab_for) -> None:
    blind = translated(lab_for, made(Translator, masked=False), 0, -1)
    assert blind.status is Status.FAIL
    assert "scaled_dot_product_attention" in blind.location.source
    given = translated(lab_for, made(Translator), 1, None)
    assert given.status is Status.WARN
    assert translated(lab_for, made(Translator), 0, -1).status is Status.PASS
