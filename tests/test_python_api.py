"""`recipe_check.run` and `assert_ready`: the same findings, and nothing of the caller's changed."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import recipe_check
from recipe_check.errors import LoadError, UsageError
from recipe_check.snapshot import changes, fingerprint, snapshot
from recipe_check.values import Status
from tests.nets import MLP, ConvNet, class_batches, image_batches, made
from tests.reports.sample import HOSTILE, sample_report

README = (Path(__file__).parent.parent / "README.md").read_text()
FAST = ("batch-contract", "initial-loss")


class Softmaxed(MLP):
    """Normalises over the batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).softmax(0)


def run(model: nn.Module, **options):
    options.setdefault("only", FAST)
    return recipe_check.run(model, class_batches(), nn.CrossEntropyLoss(), **options)


def test_a_sound_setup_passes() -> None:
    report = run(made(MLP))
    assert [r.id for r in report.results] == list(FAST)
    assert {r.status for r in report.results} == {Status.PASS}
    assert (report.outcome, report.exit_code, report.run.objects_unchanged) == ("passed", 0, True)
    assert report.target.file == "tests/nets.py"
    assert {f.role: f.how for f in report.target.found}["loss"] == "given"
    assert report.results[0].reproduce == ()  # no command loads objects


def test_importing_the_package_or_the_plugin_costs_no_torch() -> None:
    code = (
        "import sys, recipe_check, recipe_check.pytest_plugin\n"
        "print({'torch', 'recipe_check.engine'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_everything_given_is_as_before() -> None:
    """Also where checks train, read shuffled data, and the objects are in the middle of use."""
    batches = image_batches(8)
    data = TensorDataset(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))
    loader = DataLoader(data, 16, shuffle=True, generator=torch.Generator().manual_seed(3))
    model, loss = made(ConvNet), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    loss(model(data.tensors[0]), data.tensors[1]).backward()
    optimizer.step()
    model.eval()
    model.conv.requires_grad_(False)
    model.register_forward_hook(lambda *_: None)
    objects = {"model": model, "loader": loader, "optimizer": optimizer, "scheduler": scheduler}
    before = snapshot(objects)
    only = (*FAST, "overfit-one-batch", "optimizer-learns", "gradient-norms")
    with torch.no_grad():
        report = recipe_check.run(
            model, loader, loss, optimizer, scheduler=scheduler, only=only, seed=5
        )
    assert report.run.objects_unchanged
    assert changes(before, snapshot(objects)) == []
    assert not [r for r in report.results if r.status is Status.ERROR]


def test_a_step_that_uses_another_model_than_its_own_is_noticed() -> None:
    model = made(ConvNet)

    def training_step(_: nn.Module, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    report = recipe_check.run(model, image_batches(), training_step=training_step, only=FAST)
    assert report.run.objects_unchanged is False
    assert "changed while the checks ran: model.conv.weight.grad, " in report.target.notes[-1]


@pytest.mark.parametrize(
    "change",
    [
        lambda model, optimizer: model.body.weight.data.add_(1e-7),
        lambda model, optimizer: model.train(False),
        lambda model, optimizer: model.body.requires_grad_(False),
        lambda model, optimizer: model.register_forward_hook(print),
        lambda model, optimizer: setattr(model.body.bias, "grad", torch.zeros(32)),
        lambda model, optimizer: optimizer.param_groups[0].update(lr=1.0),
        lambda model, optimizer: torch.rand(1),
        lambda model, optimizer: np.random.rand(),
        lambda model, optimizer: random.random(),
    ],
)
def test_a_snapshot_sees_every_change(change) -> None:
    model = made(MLP)
    objects = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    before = snapshot(objects)
    assert changes(before, snapshot(objects)) == []
    change(*objects.values())
    assert changes(before, snapshot(objects))


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor(float("nan")),
        torch.empty(0),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(2, 2, dtype=torch.complex64).conj(),
        torch.eye(3).to_sparse(),
        torch.ones(3, device="meta"),
        nn.parameter.UninitializedParameter(),
        {"step": torch.tensor(1.0), "betas": (0.9, float("nan"))},
    ],
)
def test_every_kind_of_value_has_a_fingerprint(value) -> None:
    assert fingerprint(value) == fingerprint(value)


def test_a_model_that_writes_into_its_input_does_not_write_into_the_users() -> None:
    batches = class_batches()
    before = fingerprint(batches)
    model = nn.Sequential(nn.ReLU(inplace=True), made(MLP))
    recipe_check.run(model, batches, nn.CrossEntropyLoss(), val_loader=batches, only=FAST)
    assert fingerprint(batches) == before


def test_a_function_that_makes_the_model_lets_checks_draw_new_weights() -> None:
    report = recipe_check.run(MLP, class_batches(), nn.CrossEntropyLoss(), only="initial-loss")
    assert report.results[0].status is Status.PASS
    assert report.target.model == "MLP"


def test_no_check_starts_after_the_budget() -> None:
    report = run(made(MLP), budget=0.0)
    assert {r.verdict.message for r in report.results} == {"out of time (budget 0 s): raise it"}
    assert report.outcome == "empty"


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("resnet", {}, "expected an nn.Module"),
        (MLP(), {"only": "initial-los"}, "did you mean 'initial-loss'"),
        (MLP(), {"preset": "slow"}, "preset = 'slow'"),
        (MLP(), {"only": FAST, "skip": FAST}, "no check is left"),
        (MLP(), {"training_step": lambda model: 0}, "does not take"),
        (MLP(), {"val_loader": iter([])}, "iterator"),
        (MLP(), {"scheduler": 3}, "scheduler cannot be used"),
        (MLP(), {"optimizer": 3}, "optimizer is a int, expected a torch.optim.Optimizer"),
        (MLP(), {"device": "cuda:77"}, "no CUDA device|invalid device"),
    ],
)
def test_a_wrong_argument_is_said_so(model, options, words: str) -> None:
    if "device" in options and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises((UsageError, LoadError), match=words):
        run(model, **options)


def test_a_step_that_does_not_run_shows_the_users_lines() -> None:
    with pytest.raises(LoadError, match="mat1 and mat2") as error:
        run(nn.Sequential(made(MLP), nn.Linear(4, 3)))
    trace, hint = error.value.__notes__
    assert trace.startswith("Traceback")
    assert "in_features" in hint


def test_assert_ready_returns_the_report_or_lists_the_findings() -> None:
    loader, loss = class_batches(), nn.CrossEntropyLoss()
    assert recipe_check.assert_ready(made(MLP), loader, loss, only=FAST).exit_code == 0
    with pytest.raises(AssertionError) as error:
        recipe_check.assert_ready(made(Softmaxed), loader, loss, only="batch-dependency")
    text = str(error.value)
    assert "error[batch-dependency]: Samples of one batch influence each other" in text
    assert re.search(r"--> tests/test_python_api.py:\d+", text)
    assert "= measured: " in text
    assert ", expected 0" in text
    assert "= help: " in text
    assert text.splitlines()[-1].startswith("Not ready to train: 1 failed")


def test_assert_ready_can_mind_warnings_and_minds_that_nothing_ran() -> None:
    loader, loss = class_batches(), nn.CrossEntropyLoss()
    model = nn.Sequential(nn.Dropout(0.9), made(MLP))
    recipe_check.assert_ready(model, loader, loss, only="dropout")
    with pytest.raises(AssertionError, match=r"warning\[dropout\]"):
        recipe_check.assert_ready(model, loader, loss, only="dropout", fail_on="warning")
    with pytest.raises(AssertionError, match="skipped time-dependency: not a next-token model"):
        recipe_check.assert_ready(model, loader, loss, only="time-dependency")
    with pytest.raises(UsageError, match="fail_on"):
        recipe_check.assert_ready(model, loader, loss, fail_on="never")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_notebook_shows_a_table_in_which_nothing_is_markup(text: str) -> None:
    report = sample_report(text)
    shown = report._repr_html_()
    assert shown.count("<tr>") == len(report.results) + 1
    tags = set(re.findall(r"<(\w+)([^>]*)>", shown))
    assert {name for name, _ in tags} <= {
        "div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "br", "code", "em",
    }  # fmt: skip
    assert all(re.fullmatch(r'| style="[a-z0-9#:;, -]+"', attributes) for _, attributes in tags)
    for result in report.results:
        assert f"<code>{result.id}</code>" in shown


def test_a_report_is_short_where_its_value_is_shown_and_readable_where_it_is_printed() -> None:
    report = sample_report()
    assert len(repr(report)) < 120
    assert repr(report).startswith(f"<Report {report.outcome}: ")
    assert str(report).count("error[") == report.counts["fail"]
    passing = msgspec.structs.replace(report, results=(), outcome="passed")
    assert str(passing).startswith("Ready to train")


def test_the_examples_of_the_readme_run() -> None:
    model = made(MLP)
    names = {
        "model": model,
        "train_loader": class_batches(),
        "loss_fn": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2),
    }
    every = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    blocks = [block for block in every if "lightning" not in block]  # tested with the library
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    names["test_it_can_train"]()
    assert names["report"].run.objects_unchanged
