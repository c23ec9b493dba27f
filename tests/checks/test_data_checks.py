"""Planted mistakes in the data, their sound twins, and traps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recipe_check import NotApplicable, Status
from recipe_check.checks.batch_contract import BatchContract
from recipe_check.checks.duplicates import Duplicates, Repeats
from recipe_check.checks.label_range import LabelRange, Labels
from recipe_check.checks.shuffling import Mixing, Shuffling
from tests.nets import MLP, class_batches, made


def judged(check, lab):
    return check.judge(check.measure(lab))


def test_one_nan_in_the_last_batch_is_found(lab_for) -> None:
    batches = class_batches(60)
    batches[-1][0][5, 2] = float("nan")
    verdict = judged(BatchContract(), lab_for(made(MLP), batches, nn.CrossEntropyLoss()))
    assert verdict.status is Status.FAIL
    assert "1 samples hold NaN" in verdict.message
    assert "batch 60" in verdict.message
    healthy = lab_for(made(MLP), class_batches(60), nn.CrossEntropyLoss())
    assert judged(BatchContract(), healthy).status is Status.PASS


def test_the_same_input_everywhere_fails(lab_for) -> None:
    batches = [(torch.ones(16, 8), y) for _, y in class_batches()]
    verdict = judged(BatchContract(), lab_for(made(MLP), batches, nn.CrossEntropyLoss()))
    assert verdict.status is Status.FAIL
    assert "same input" in verdict.message


def test_a_last_batch_of_one_in_front_of_batch_norm_fails(lab_for) -> None:
    batches = class_batches()
    batches.append((batches[0][0][:1], batches[0][1][:1]))
    normed = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    check = BatchContract()
    assert judged(check, lab_for(normed, batches, nn.CrossEntropyLoss())).status is Status.FAIL
    assert judged(check, lab_for(made(MLP), batches, nn.CrossEntropyLoss())).status is Status.PASS


def test_labels_that_do_not_fit_the_outputs(lab_for) -> None:
    shifted = [(x, y + 1) for x, y in class_batches()]
    verdict = judged(LabelRange(), lab_for(made(MLP), shifted, nn.CrossEntropyLoss()))
    assert verdict.status is Status.FAIL
    assert "labels run from 1 to 3" in verdict.message
    ignored = [(x, torch.where(y == 0, -100, y)) for x, y in class_batches()]
    lab = lab_for(made(MLP), ignored, nn.CrossEntropyLoss())
    assert judged(LabelRange(), lab).status is Status.PASS


def test_labels_that_are_all_the_same(lab_for) -> None:
    same = [(x, torch.zeros_like(y)) for x, y in class_batches()]
    assert judged(LabelRange(), lab_for(made(MLP), same, nn.CrossEntropyLoss())).status is (
        Status.FAIL
    )
    few = lab_for(made(MLP), same[:2], nn.CrossEntropyLoss())
    assert judged(LabelRange(), few).status is Status.PASS


def test_a_regression_has_no_label_range(lab_for) -> None:
    batches = [(x, torch.randn(16, 3)) for x, _ in class_batches()]
    with pytest.raises(NotApplicable, match="no class labels"):
        LabelRange().measure(lab_for(made(MLP), batches, nn.MSELoss()))


def test_sorted_classes_fail_and_mixed_ones_pass(lab_for) -> None:
    x = torch.cat([x for x, _ in class_batches(12)])
    y = torch.cat([y for _, y in class_batches(12)])
    order = y.argsort()
    batches = list(zip(x[order].split(16), y[order].split(16), strict=True))
    assert judged(Shuffling(), lab_for(made(MLP), batches, nn.CrossEntropyLoss())).status is (
        Status.FAIL
    )
    mixed = lab_for(made(MLP), class_batches(12), nn.CrossEntropyLoss())
    assert judged(Shuffling(), mixed).status is Status.PASS


def test_validation_samples_that_were_trained_on(lab_for) -> None:
    train = class_batches(8)
    check = Duplicates()
    leaky = lab_for(made(MLP), train, nn.CrossEntropyLoss(), val_loader=train[4:6])
    assert judged(check, leaky).status is Status.FAIL
    apart = lab_for(made(MLP), train, nn.CrossEntropyLoss(), val_loader=class_batches(2, seed=9))
    assert judged(check, apart).status is Status.PASS


def test_a_loader_without_a_length_is_read_once(lab_for) -> None:
    stream = iter(class_batches(10))
    lab = lab_for(made(MLP), stream, nn.CrossEntropyLoss())
    assert judged(BatchContract(), lab).status is Status.PASS
    assert len(lab.train_batches) == 8


@pytest.mark.parametrize(
    ("check", "seen", "status"),
    [
        (Shuffling(), Mixing(10, 0.24, 1.0), Status.FAIL),
        (Shuffling(), Mixing(10, 0.26, 1.0), Status.PASS),
        (Shuffling(), Mixing(3, 0.0, 1.0), Status.PASS),
        (LabelRange(), Labels(0, 9, 10, 0, (1,) * 10), Status.PASS),
        (LabelRange(), Labels(0, 10, 10, 1, (1,) * 10), Status.FAIL),
        (LabelRange(), Labels(-1, 3, 10, 1, (1,) * 10), Status.FAIL),
        (LabelRange(), Labels(0, 0, 2, 0, (63, 0)), Status.PASS),
        (LabelRange(), Labels(0, 0, 2, 0, (64, 0)), Status.FAIL),
        (Duplicates(), Repeats(100, 100, 5, 0, 0), Status.FAIL),
        (Duplicates(), Repeats(100, 100, 4, 0, 0), Status.PASS),
        (Duplicates(), Repeats(100, 100, 20, 40, 0, 60), Status.PASS),
        (Duplicates(), Repeats(100, 0, 0, 5, 5), Status.WARN),
    ],
)
def test_judge_around_its_thresholds(check, seen, status) -> None:
    assert check.judge(seen).status is status


def test_nodes_of_one_graph_are_no_samples(lab_for) -> None:
    """Training and validation edges of the same nodes: the features are the same by design."""
    nodes = torch.randn(30, 8)
    graph = [(nodes, torch.randint(0, 30, (2, 40)))]
    lab = lab_for(made(MLP), graph, nn.CrossEntropyLoss(), val_loader=graph)
    with pytest.raises(NotApplicable, match="have no rows"):
        Duplicates().measure(lab)
