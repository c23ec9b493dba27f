"""Models that Python cannot copy, lazy ones, and ones that copy in their own way."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import recipe_check
from recipe_check.copying import Parts, copy_parts
from recipe_check.errors import LoadError, UserCodeError
from recipe_check.lazy import materialised
from recipe_check.snapshot import changes, snapshot
from recipe_check.values import Status
from tests.nets import MLP, class_batches, made

ONLY = ("batch-contract", "initial-loss", "overfit-one-batch", "optimizer-learns", "registration")


class Locked(MLP):
    """Holds what Python cannot copy, and what it must not share."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.helpers = {"stream": (i for i in range(3)), "scale": [torch.ones(1)]}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.lock:
            return super().forward(x)


class Refusing(MLP):
    """Cannot be copied at all."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("no copies of this model")


def parts_of(model: nn.Module) -> Parts:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Parts(model, nn.CrossEntropyLoss(), optimizer)


def assert_apart(copied: Parts, original: Parts) -> None:
    """Equal values, no shared tensor, and the optimizer holds the copy's parameters."""
    mine, theirs = copied.model.state_dict(), original.model.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert not {t.data_ptr() for t in mine.values()} & {t.data_ptr() for t in theirs.values()}
    assert copied.optimizer is not None
    held = [id(p) for group in copied.optimizer.param_groups for p in group["params"]]
    assert held == [id(p) for p in copied.model.parameters()]


def test_what_cannot_be_copied_is_shared_and_nothing_else() -> None:
    original = parts_of(made(Locked))
    copied = copy_parts(original)
    assert_apart(copied, original)
    assert copied.model.lock is original.model.lock
    assert copied.model.helpers["scale"][0] is not original.model.helpers["scale"][0]


def test_a_model_that_refuses_is_built_anew_with_its_weights() -> None:
    original = parts_of(made(Refusing))
    original.model.eval()
    original.model.body.requires_grad_(False)
    copied = copy_parts(original, Refusing)
    assert_apart(copied, original)
    assert not copied.model.training
    assert not copied.model.body.weight.requires_grad


def test_a_model_that_refuses_and_has_no_factory_says_what_to_do() -> None:
    with pytest.raises(UserCodeError, match=r"Refusing cannot be copied .*make_model") as error:
        copy_parts(parts_of(made(Refusing)))
    assert error.value.file == "tests/reliability/test_models.py"


@pytest.mark.parametrize("model", [made(Locked), Refusing], ids=["shared", "built"])
def test_the_checks_run_on_a_model_that_python_cannot_copy(model: Any) -> None:
    report = recipe_check.run(model, class_batches(), nn.CrossEntropyLoss(), only=ONLY)
    assert {r.status for r in report.results} <= {Status.PASS, Status.SKIP}
    assert report.run.objects_unchanged


def test_without_any_way_to_copy_the_run_ends_with_one_message() -> None:
    with pytest.raises(LoadError, match="Refusing cannot be copied"):
        recipe_check.run(made(Refusing), class_batches(), nn.CrossEntropyLoss(), only=ONLY)


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(32), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))


def test_lazy_layers_get_their_shapes_on_a_copy() -> None:
    model = lazy()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = snapshot({"model": model})
    report = recipe_check.run(model, class_batches(), nn.CrossEntropyLoss(), optimizer)
    assert not [r for r in report.results if r.status in (Status.FAIL, Status.ERROR)]
    assert "lazy layers" in " ".join(report.target.notes)
    assert changes(before, snapshot({"model": model})) == []


def test_lazy_layers_of_a_factory_are_drawn_anew(lab_for) -> None:
    torch.manual_seed(0)
    lab = materialised(lab_for(lazy(), class_batches(), nn.CrossEntropyLoss(), build_model=lazy))
    first, second = lab.rig(fresh=1).model[0].weight, lab.rig(fresh=2).model[0].weight
    assert first.shape == second.shape == (32, 8)
    assert not torch.equal(first, second)


def test_lazy_layers_that_do_not_fit_say_so() -> None:
    model, loss = nn.Sequential(lazy(), nn.Linear(7, 3)), nn.CrossEntropyLoss()
    with pytest.raises(LoadError, match="mat1 and mat2"):
        recipe_check.run(model, class_batches(), loss, only=ONLY)


def test_the_file_of_the_message_is_the_users(tmp_path: Path) -> None:
    """A line deep in a model's own copying counts as the user's, not as ours."""

    class Late(MLP):
        copies = 0

        def __deepcopy__(self, memo: Any) -> Any:
            Late.copies += 1
            if Late.copies > 4:
                raise ValueError("worn out")
            new = Late()
            new.load_state_dict(self.state_dict())
            memo.update(
                {id(a): b for a, b in zip(self.parameters(), new.parameters(), strict=True)}
            )
            return new

    report = recipe_check.run(made(Late), class_batches(), nn.CrossEntropyLoss(), only=ONLY)
    broken = [r for r in report.results if r.status is Status.ERROR]
    assert broken
    for result in broken:
        assert "tests/reliability/test_models.py" in result.verdict.message
        assert "worn out" in result.verdict.message
