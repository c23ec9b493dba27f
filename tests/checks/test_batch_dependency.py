"""Planted mixing, healthy twins and traps; the line; the promised number of passes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks.batch_dependency import BatchDependency, Dependency
from tests.nets import MLP, ConvNet, TokenNet, image_batches, made, token_batches, token_loss


class Transposed(ConvNet):
    def forward(self, x):
        x = self.features(x)
        return self.head(x.transpose(0, 1).reshape(x.size(0), -1))  # BUG


class Centred(MLP):
    def forward(self, x):
        x = self.body(x)
        mean = x.mean(0)  # BUG
        return self.head(torch.relu(x - mean))


class OverBatch(MLP):
    def forward(self, x):
        return self.head(torch.softmax(self.body(x), dim=0))  # BUG


class WrongWayRnn(TokenNet):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(16, 32)

    def forward(self, x):
        x = self.embed(x)
        x, _ = self.rnn(x)  # BUG
        return self.head(x)


class Positions(MLP):
    def forward(self, x):
        return self.head(self.body(x) + torch.arange(x.size(0))[:, None])


class Deaf(MLP):
    def forward(self, x):
        return super().forward(x * 0)


class ZeroHead(MLP):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)


class Squeezed(MLP):
    def __init__(self):
        super().__init__(classes=1)

    def forward(self, x):
        return super().forward(x).squeeze()


class TimeMajor(nn.Module):
    """Sound: (time, batch, features), and the target has one row a sample."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][-1])


def features(size=16):
    return [(torch.randn(size, 8), torch.randint(0, 3, (size,))) for _ in range(3)]


def line_of(kind) -> str:
    import inspect

    return next(line for line in inspect.getsource(kind).splitlines() if "# BUG" in line)


PLANTED = {
    "transpose-before-reshape": (Transposed, image_batches, "layout"),
    "statistics-over-the-batch": (Centred, features, "statistics"),
    "softmax-over-the-batch": (OverBatch, features, "softmax"),
}


@pytest.mark.parametrize("case", PLANTED.values(), ids=PLANTED.keys())
def test_mixing_fails_with_its_line_and_cause(lab_for, case) -> None:
    kind, batches, sort = case
    check = BatchDependency()
    seen = check.measure(lab_for(made(kind), batches(), nn.CrossEntropyLoss()))
    verdict = check.judge(seen)
    assert verdict.status is Status.FAIL
    assert seen.kind == sort
    assert verdict.location.source == line_of(kind)
    assert sum(cause.state == "matches" for cause in verdict.causes) == 1


def test_a_recurrent_layer_over_the_batch_is_found_on_tokens(lab_for) -> None:
    check = BatchDependency()
    verdict = check.judge(check.measure(lab_for(made(WrongWayRnn), token_batches(), token_loss)))
    assert verdict.status is Status.FAIL
    assert verdict.location.source == line_of(WrongWayRnn)
    assert "batch_first" in verdict.fix.text


def test_a_position_code_along_the_batch_fails(lab_for) -> None:
    check = BatchDependency()
    verdict = check.judge(
        check.measure(lab_for(made(Positions), features(), nn.CrossEntropyLoss()))
    )
    assert verdict.status is Status.FAIL
    assert "place in the batch" in verdict.message


def test_a_deaf_model_fails(lab_for) -> None:
    check = BatchDependency()
    verdict = check.judge(check.measure(lab_for(made(Deaf), features(), nn.CrossEntropyLoss())))
    assert verdict.status is Status.FAIL
    assert "whatever the input" in verdict.message


def test_squeeze_without_a_dimension_is_warned_of(lab_for) -> None:
    batches = [(torch.randn(16, 8), torch.rand(16)) for _ in range(2)]
    check = BatchDependency()
    verdict = check.judge(check.measure(lab_for(made(Squeezed), batches, nn.MSELoss())))
    assert verdict.status is Status.WARN
    assert "single sample" in verdict.measured


SOUND = {
    "mlp": (MLP, features, nn.CrossEntropyLoss()),
    "batch-norm": (ConvNet, image_batches, nn.CrossEntropyLoss()),
    "zero-initialised-head": (ZeroHead, features, nn.CrossEntropyLoss()),
    "tokens": (TokenNet, token_batches, token_loss),
    "as-many-tokens-as-samples": (TokenNet, lambda: token_batches(time=8), token_loss),
}


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND.keys())
def test_sound_models_pass(lab_for, case) -> None:
    kind, batches, loss = case
    check = BatchDependency()
    assert check.judge(check.measure(lab_for(made(kind), batches(), loss))).status is Status.PASS


def test_time_major_input_is_not_mistaken_for_mixing(lab_for) -> None:
    batches = [(torch.randn(9, 16, 4), torch.randint(0, 3, (16,))) for _ in range(2)]
    check = BatchDependency()
    seen = check.measure(lab_for(made(TimeMajor), batches, nn.CrossEntropyLoss()))
    assert check.judge(seen).status is Status.PASS
    assert seen.rows == 13


def test_a_similarity_matrix_over_the_batch_is_skipped(lab_for) -> None:
    class TwoTower(MLP):
        def forward(self, x):
            z = self.body(x)
            return z @ z.T

    def loss(scores, _):
        return nn.functional.cross_entropy(scores, torch.arange(len(scores)))

    with pytest.raises(NotApplicable, match="relates samples"):
        BatchDependency().measure(lab_for(made(TwoTower), features(), loss))


def test_a_clean_model_costs_two_log_two_passes_and_a_constant(lab_for) -> None:
    for size in (8, 13, 64):
        lab = lab_for(made(MLP), features(size), nn.CrossEntropyLoss())
        BatchDependency().measure(lab)
        rows = min(size, 13)
        assert lab.meter.forward <= 2 * math.ceil(math.log2(rows)) + 6
        assert lab.meter.backward == 0


def evidence(**changes) -> Dependency:
    plain = {
        "rows": 4,
        "leak": 0.0,
        "own": (1.0,) * 4,
        "permutation": 0.0,
        "alone": 0.0,
        "alone_error": "",
        "matrix": (),
        "location": None,
        "op": "",
        "kind": "",
        "by_design": False,
        "has_statistics": False,
        "passes": 4,
    }
    return Dependency(**{**plain, **changes})


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, Status.PASS),
        ({"leak": 9e-6}, Status.PASS),
        ({"leak": 1.1e-5}, Status.FAIL),
        ({"leak": 1e-3, "by_design": True}, Status.WARN),
        ({"own": (0.0,) * 4}, Status.FAIL),
        ({"permutation": 9e-4}, Status.PASS),
        ({"permutation": 2e-3}, Status.FAIL),
        ({"alone": 2e-3}, Status.WARN),
        ({"alone": None, "alone_error": "raised"}, Status.WARN),
        ({"alone": None}, Status.PASS),
    ],
)
def test_judge_around_its_thresholds(changes, status) -> None:
    assert BatchDependency().judge(evidence(**changes)).status is status


class Pointer(nn.Module):
    """Sound: scores of two classes, of which the input rules one out for some samples."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(8, 3)

    def forward(self, x):
        scores = self.score(x)
        return torch.cat([scores[:, :2], scores[:, 2:].masked_fill(x[:, :1] > 0, -math.inf)], 1)


class MaskOfTheBatch(Pointer):
    def forward(self, x):
        scores = self.score(x)
        return scores.masked_fill((scores == scores.max(0).values).roll(1, 0), -math.inf)  # BUG


def test_masked_scores_are_compared(lab_for) -> None:
    batches = [(x, torch.zeros(len(x), dtype=torch.long)) for x, _ in features()]
    for kind, status in ((Pointer, Status.PASS), (MaskOfTheBatch, Status.FAIL)):
        check = BatchDependency()
        seen = check.measure(lab_for(made(kind), batches, nn.CrossEntropyLoss()))
        assert check.judge(seen).status is status, kind


class Sorted(nn.Module):
    """Sound: its loader sorts each batch by length, and the layer insists on it."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.head(self.rnn(packed)[1][0])


def test_a_batch_that_must_be_sorted_is_no_error(lab_for) -> None:
    batches = [
        (
            (torch.randn(16, 16, 4), torch.arange(16, 0, -1).clamp(max=longest)),
            torch.randint(0, 3, (16,)),
        )
        for longest in (16, 9, 5)
    ]
    with pytest.raises(NotApplicable, match="exchanged samples"):
        BatchDependency().measure(lab_for(made(Sorted), batches, nn.CrossEntropyLoss()))


class Decoder(nn.Module):
    """Sound: it takes its labels as inputs, too, one step behind, and returns its own loss."""

    def __init__(self):
        super().__init__()
        self.source, self.before = nn.Embedding(9, 16), nn.Embedding(9, 16)
        self.head = nn.Linear(16, 9)

    def forward(self, input_ids, labels):
        behind = nn.functional.pad(labels[:, :-1], (1, 0))
        logits = self.head(torch.tanh(self.source(input_ids).mean(1, True) + self.before(behind)))
        return {"loss": nn.functional.cross_entropy(logits.mT, labels), "logits": logits}


class LateDecoder(Decoder):
    def forward(self, input_ids, labels):
        return super().forward(input_ids, labels.roll(1, 0))  # BUG


@pytest.mark.parametrize(("kind", "status"), [(Decoder, Status.PASS), (LateDecoder, Status.FAIL)])
def test_labels_that_the_model_takes_belong_to_their_sample(lab_for, kind, status) -> None:
    batches = [{"input_ids": torch.randint(9, (12, 5)), "labels": torch.randint(9, (12, 5))}
               for _ in range(2)]  # fmt: skip
    check = BatchDependency()
    assert check.judge(check.measure(lab_for(made(kind), batches))).status is status
