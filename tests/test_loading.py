"""Target → Subject: every convention, every message for what cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from recipe_check.errors import LoadError
from recipe_check.lab import Lab
from recipe_check.loading import load
from recipe_check.request import LoadRequest

HEAD = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
X, Y = torch.randn(40, 4), torch.randint(0, 3, (40,))
class Small(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, width), nn.ReLU())
        self.head = nn.Linear(width, 3)
    def forward(self, x):
        return self.head(self.body(x))
def feed():
    return DataLoader(TensorDataset(X, Y), batch_size=8)
"""


def subject_of(folder: Path, body: str, **request: object):
    file = folder / "train_me.py"
    file.write_text(HEAD + body)
    return load(LoadRequest(target=str(file) + str(request.pop("suffix", "")), **request))


CONVENTIONS = {
    "values": "net = Small(); trainloader = feed(); criterion = nn.CrossEntropyLoss()\n"
    "opt = torch.optim.SGD(net.parameters(), lr=0.1)",
    "only-of-their-type": "thing = Small(); stream = feed(); measure = nn.CrossEntropyLoss()",
    "class": "train_loader = feed()\nloss_fn = nn.CrossEntropyLoss()",
    "factories": "def make_model(): return Small()\ndef make_loader(): return feed()\n"
    "def make_loss(): return nn.CrossEntropyLoss()\n"
    "def make_optimizer(params): return torch.optim.Adam(params, lr=0.01)",
    "loss-module-of-any-name": "class Weighed(nn.Module):\n"
    "    def forward(self, out, y): return nn.functional.cross_entropy(out, y)\n"
    "def make_model(): return Small()\ntrain_loader = feed(); loss_fn = Weighed()",
    "callables-under-names": "model = Small\ntrain_loader = feed\nloss_fn = nn.CrossEntropyLoss",
    "recipe": "def recipe():\n"
    "    return dict(model=Small(), data=feed(), loss_fn=nn.CrossEntropyLoss())",
    "decorated-recipe": "import recipe_check\n@recipe_check.recipe\ndef mine():\n"
    "    return Small(), feed(), nn.CrossEntropyLoss()",
    "training-step": "model = Small(); loader = feed()\n"
    "def training_step(model, batch):\n    x, y = batch\n"
    "    out = model(x)\n    return {'loss': nn.functional.cross_entropy(out, y), 'logits': out}",
}


@pytest.mark.parametrize("body", CONVENTIONS.values(), ids=CONVENTIONS.keys())
def test_every_convention_gives_a_subject_that_takes_a_step(tmp_path: Path, body: str) -> None:
    subject = subject_of(tmp_path, body)
    lab = Lab(subject, device="cpu")
    assert lab.broken is None
    assert subject.name == "Small"
    assert {found.role for found in subject.found} >= {"model", "data", "optimizer"}
    step = lab.rig().step(lab.train_batches[0])
    assert step.loss.ndim == 0
    assert step.output.shape == (8, 3)


def test_options_win_over_names(tmp_path: Path) -> None:
    body = (
        "model = Small(); wide = Small(64); train_loader = feed(); loss_fn = nn.MSELoss()\n"
        "ce = nn.CrossEntropyLoss()\ndef build(width): return Small(width)\n"
    )
    subject = subject_of(tmp_path, body, model="wide", loss="ce")
    assert subject.original.model.head.in_features == 64
    assert isinstance(subject.original.loss, nn.CrossEntropyLoss)
    made = subject_of(tmp_path, body, model="build", kwargs={"width": 5}, loss="ce")
    assert made.original.model.head.in_features == 5
    assert made.build_model is not None


def test_a_name_behind_the_file_is_the_model(tmp_path: Path) -> None:
    body = "a = Small(3); b = Small(5); loader = feed(); loss_fn = nn.CrossEntropyLoss()"
    assert subject_of(tmp_path, body, suffix=":b").original.model.head.in_features == 5


def test_the_optimizer_of_a_copy_holds_the_copy_and_keeps_its_options(tmp_path: Path) -> None:
    subject = subject_of(
        tmp_path,
        CONVENTIONS["values"].replace("lr=0.1", "lr=0.1, momentum=0.9, weight_decay=0.01"),
    )
    copied = subject.copy()
    held = {id(p) for group in copied.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in copied.model.parameters()}
    assert copied.optimizer.param_groups[0]["momentum"] == 0.9
    before = [p.clone() for p in subject.original.model.parameters()]
    lab = Lab(subject, device="cpu")
    rig = lab.rig()
    rig.update(rig.own_optimizer(), lab.train_batches[0])
    after = list(subject.original.model.parameters())
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert not torch.equal(rig.model.head.weight, subject.original.model.head.weight)


def test_layers_know_the_line_that_made_them(tmp_path: Path) -> None:
    subject = subject_of(tmp_path, CONVENTIONS["values"])
    line = subject.created["head"].line
    assert (HEAD.splitlines()[line - 1]).strip() == "self.head = nn.Linear(width, 3)"


def test_a_fresh_model_differs_only_where_a_factory_exists(tmp_path: Path) -> None:
    made = Lab(subject_of(tmp_path, CONVENTIONS["factories"]), device="cpu")
    given = Lab(subject_of(tmp_path, CONVENTIONS["values"]), device="cpu")
    weights = [made.rig(fresh=n).model.head.weight for n in (1, 2, 1)]
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert torch.equal(given.rig(fresh=1).model.head.weight, given.rig(fresh=2).model.head.weight)
    assert made.can_reinitialise
    assert not given.can_reinitialise


REFUSED = {
    "no-model": ("train_loader = feed()\ndel Small", "no model found", "--model"),
    "two-models": ("a = Small(); b = Small(); train_loader = feed()", "`a` (Small), `b`", "a"),
    "two-loaders": ("model = Small(); p = feed(); q = feed()", "`p` (DataLoader)", "--data"),
    "no-data": ("model = Small()", "no data loader found", "train_loader"),
    "needs-argument": ("del Small\ndef make_model(depth): pass\nloader = feed()",
                       "needs the argument depth", "--kwarg depth"),
    "trains-on-import": ("model = Small(); loader = feed(); o = torch.optim.SGD("
                         "model.parameters(), 0.1)\no.step()", "started training", "__main__"),
    "exits": ("import sys; sys.exit(3)", "called sys.exit(3)", "__main__"),
    "missing-import": ("import no_such_package", "No module named", "install"),
    "syntax": ("def f(:", "SyntaxError", "not valid Python"),
    "factory-raises": ("def make_model(): raise ValueError('no weights')\nloader = feed()",
                       "raised ValueError: no weights", "called"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_loaded_says_why_and_what_to_do(tmp_path: Path, case) -> None:
    body, message, hint = case
    with pytest.raises(LoadError) as caught:
        subject_of(tmp_path, body)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "recipe_check" not in caught.value.trace


BROKEN = {
    "raises-in-forward": ("class Bad(Small):\n    def forward(self, x): return self.nope(x)\n"
                          "model = Bad()", "loss_fn = nn.CrossEntropyLoss()", "nope"),
    "vector-loss": ("model = Small()", "loss_fn = nn.CrossEntropyLoss(reduction='none')",
                    "expected one number"),
    "empty-loader": ("model = Small()\nX = X[:0]; Y = Y[:0]", "loss_fn = nn.CrossEntropyLoss()",
                     "yields no batch"),
    "labels-too-large": ("model = Small()\nY = Y + 1", "loss_fn = nn.CrossEntropyLoss()",
                         "out of bounds"),
    "no-loss": ("model = Small()", "", "no loss found"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_a_first_step_that_raises_is_told_with_advice(tmp_path: Path, case) -> None:
    model, loss, message = case
    lab = Lab(subject_of(tmp_path, f"{model}\ntrain_loader = feed()\n{loss}"), device="cpu")
    assert lab.broken is not None
    assert message in lab.broken.message
    assert lab.broken.hint
