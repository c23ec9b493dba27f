"""`--capture`: scripts as people write them, stopped at their first step and taken apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from recipe_check import tree
from recipe_check.errors import LoadError, RecipeCheckError
from recipe_check.lab import Lab
from recipe_check.loading import load
from recipe_check.probes.watch import LossObserver, Watch
from recipe_check.request import LoadRequest
from recipe_check.subject import Subject
from tests.test_cli import run

HEAD = """
import sys, torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(1)
X = torch.randn(64, 2, 4)
Y = X.flatten(1)[:, :3].argmax(1)
loader = DataLoader(TensorDataset(X.flatten(1), Y), batch_size=16)
images = DataLoader(TensorDataset(X, Y), batch_size=16)
def mlp(inputs=8, outputs=3):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, outputs))
net = mlp()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
"""
STEP = "loss.backward()\n    opt.step()\n    print('trained')"
CRITERION = f"""
for x, y in loader:
    opt.zero_grad()
    loss = nn.CrossEntropyLoss()(net(x), y)
    {STEP}
"""
FLATTENED = f"""
for x, y in images:
    x = x.view(x.size(0), -1)
    loss = F.cross_entropy(net(x), y)
    {STEP}
"""
ACCUMULATION = """
accumulated = 4
for i, (x, y) in enumerate(loader):
    loss = F.cross_entropy(net(x), y) / accumulated
    loss.backward()
    if (i + 1) % accumulated == 0:
        opt.step()
"""
MAIN = """
import argparse
class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body, self.head = nn.Linear(8, width), nn.Linear(width, 3)
    def forward(self, x):
        return self.head(F.relu(self.body(x)))
def train(model, device, batches, optimizer):
    model.train()
    for data, target in batches:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.cross_entropy(output, target, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    args = parser.parse_args()
    test_loader = DataLoader(TensorDataset(X.flatten(1) + 1, Y), batch_size=16)
    model = Net(width=16)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    try:
        train(model, torch.device("cpu"), loader, optimizer)
    except Exception as error:
        print("never seen", error)
if __name__ == "__main__":
    main()
"""
AUTOCAST = """
scaler = torch.amp.GradScaler("cpu")
for x, y in loader:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.cross_entropy(net(x), y)
    scaler.scale(loss).backward()
    scaler.step(opt)
"""
GAN = """
critic, maker = mlp(8, 1), mlp(4, 8)
critic_opt, maker_opt = (torch.optim.Adam(m.parameters()) for m in (critic, maker))
bce = nn.BCEWithLogitsLoss()
for real, _ in loader:
    count = real.size(0)
    label = torch.full((count,), 1.0)
    bce(critic(real).view(-1), label).backward()
    fake = maker(torch.randn(count, 4))
    label.fill_(0.0)
    bce(critic(fake.detach()).view(-1), label).backward()
    critic_opt.step()
    bce(critic(fake).view(-1), torch.ones(count)).backward()
    maker_opt.step()
"""
CLOSURE = """
opt = torch.optim.LBFGS(net.parameters())
for x, y in loader:
    def closure():
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss
    opt.step(closure)
"""
OWN_LOSS = f"""
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net
    def forward(self, x, labels):
        logits = self.body(x)
        return {{"loss": F.cross_entropy(logits, labels), "logits": logits}}
own = Own()
for x, y in loader:
    loss = own(x, labels=y)["loss"]
    {STEP}
"""
PARTS = f"""
class Auto(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = mlp(8, 2), mlp(2, 8)
auto = Auto()
opt = torch.optim.Adam(auto.parameters())
for x, _ in loader:
    loss = F.mse_loss(auto.decoder(auto.encoder(x)), x) + 1e-3 * auto.decoder[0].weight.pow(2).sum()
    {STEP}
"""
SEQUENCES = f"""
class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(9, 8), nn.Linear(8, 9)
    def forward(self, x):
        return self.out(self.embed(x))
net = Words()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
text = torch.randint(9, (48, 6))
for x, y in DataLoader(TensorDataset(text[:, :-1], text[:, 1:]), batch_size=16):
    out = net(x)
    b, t, c = out.shape
    loss = F.cross_entropy(out.view(b * t, c), y.reshape(b * t))
    {STEP}
"""
SLICES = f"""
flat = X.flatten(1)
for i in range(0, 64, 16):
    x, y = flat[i:i + 16], Y[i:i + 16]
    loss = F.cross_entropy(net(x), y)
    {STEP}
"""
DICTS = f"""
from torch.utils.data import default_collate
rows = [dict(pixels=x, label=y) for x, y in zip(X.flatten(1), Y)]
for batch in DataLoader(rows, batch_size=16, collate_fn=default_collate):
    label = batch.pop("label")
    loss = F.cross_entropy(net(batch["pixels"]), label)
    {STEP}
"""
# the script, its loss or step as found, the class of its model
SCRIPTS = {
    "plain": (CRITERION, "CrossEntropyLoss", "Sequential"),
    "accumulation": (ACCUMULATION, "cross_entropy", "Sequential"),
    "main": (MAIN, "cross_entropy", "Net"),
    "autocast": (AUTOCAST, "cross_entropy", "Sequential"),
    "gan": (GAN, "step", "Sequential"),
    "closure": (CLOSURE, "cross_entropy", "Sequential"),
    "own-loss": (OWN_LOSS, None, "Own"),
    "parts": (PARTS, "step", "Auto"),
    "sequences": (SEQUENCES, "cross_entropy", "Words"),
    "slices": (SLICES, "cross_entropy", "Sequential"),
    "dicts": (DICTS, "cross_entropy", "Sequential"),
    "flattened": (FLATTENED, "step", "Sequential"),
    "compiled": (f"net = torch.compile(net)\n{CRITERION}", "CrossEntropyLoss", "Sequential"),
    "workers": (CRITERION.replace("in loader", "in DataLoader(loader.dataset, 16, num_workers=1)"),
                "CrossEntropyLoss", "Sequential"),
}  # fmt: skip
Capture = Callable[..., Subject]


@pytest.fixture
def capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Capture:
    """`capture(body, *arguments)` → the Subject of a script in `tmp_path`."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)

    def made(body: str, *arguments: str, **asked: Any) -> Subject:
        (tmp_path / "train.py").write_text(HEAD + body)
        return load(LoadRequest(target="train.py", capture=True, script_args=arguments, **asked))

    return made


@pytest.mark.parametrize(("body", "loss", "model"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_script_becomes_a_subject_that_trains(
    capture: Capture, capsys: pytest.CaptureFixture[str], body: str, loss: str | None, model: str
) -> None:
    subject = capture(body, "--lr", "0.3")
    assert subject.name == model
    found = {f.role: f for f in subject.found}
    if loss == "step":
        assert subject.training_step is not None
    elif loss is None:
        assert subject.original.loss is subject.training_step is None
    else:
        assert found["loss"].summary == loss
    assert "trained" not in capsys.readouterr().out
    assert found["optimizer"].how.startswith("stepped at train.py:")
    rig = Lab(subject, device="cpu").rig().train()
    batch = batch_of(subject)
    for size in (16, 5):
        batch = tree.map_leaves(batch, lambda leaf, size=size: leaf[:size])
        rig.backward(rig.step(batch).loss)
        assert any(p.grad is not None and bool(p.grad.any()) for p in rig.model.parameters())


def batch_of(subject: Subject) -> Any:
    return next(iter(subject.loader))


def test_what_is_taken_is_the_state_before_the_step(capture: Capture) -> None:
    subject = capture(ACCUMULATION)
    torch.manual_seed(1)
    torch.randn(64, 2, 4)  # as the script
    assert torch.equal(subject.original.model[0].weight, nn.Linear(8, 16).weight)
    assert all(p.grad is None for p in subject.original.model.parameters())
    loss = Lab(subject, device="cpu").rig().step(batch_of(subject)).loss
    assert float(loss.detach()) > 0.9  # not a quarter of it


def test_arguments_scheduler_and_validation_of_a_script_with_a_main(capture: Capture) -> None:
    subject = capture(MAIN, "--lr", "0.3")
    assert subject.original.optimizer.param_groups[0]["lr"] == 0.3
    assert isinstance(subject.original.scheduler, lr_scheduler.StepLR)
    assert isinstance(subject.val_loader, DataLoader)
    assert subject.val_loader is not subject.loader
    assert "head" in subject.created
    output, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    expected = nn.functional.cross_entropy(output, target, label_smoothing=0.1)
    assert torch.equal(subject.original.loss(output, target), expected)


def test_pytorch_is_put_back(capture: Capture) -> None:
    owners = (torch.autograd, DataLoader, torch.amp.GradScaler, torch.optim.Optimizer,
              lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau, nn.Module)  # fmt: skip
    before = [dict(vars(owner)) for owner in owners], torch.compile, list(sys.argv)
    capture(CRITERION)
    with pytest.raises(LoadError):
        capture("1 / 0")
    assert ([dict(vars(owner)) for owner in owners], torch.compile, list(sys.argv)) == before
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("caught", ["Exception", "BaseException"])
def test_a_script_that_catches_everything_gets_no_further(capture: Capture, caught: str) -> None:
    body = f"""
for epoch in range(3):
    try:
        for x, y in loader:
            F.cross_entropy(net(x), y).backward()
            opt.step()
            open("trained", "w").close()
    except {caught}:
        pass
    finally:
        open("finally", "w").close()
"""
    assert capture(body).original.optimizer is not None
    assert Path("finally").exists()
    assert not Path("trained").exists()


NOTES = {
    "no-loader": (SLICES, "no DataLoader gave the batch"),
    "autocast": (AUTOCAST, "trains under autocast"),
    "two-loaders": (
        "for (x, y), (u, _) in zip(loader, DataLoader(loader.dataset, 8)):\n"
        f"    loss = F.cross_entropy(net(x), y) + net(u).pow(2).mean()\n    {STEP}",
        "second data loader",
    ),
    "two-models": (
        "a, b = mlp(8, 2), mlp(2, 8)\nopt = torch.optim.SGD([*a.parameters(), *b.parameters()])\n"
        f"for x, _ in loader:\n    loss = F.mse_loss(b(a(x)), x)\n    {STEP}",
        "trained together",
    ),
    "changing": (
        "class Odd(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.body, self.calls = net, 0\n"
        "    def forward(self, x):\n        self.calls += 1\n"
        f"        return self.body(x) * self.calls\nodd = Odd()\n"
        f"for x, y in loader:\n    loss = F.cross_entropy(odd(x), y)\n    {STEP}",
        "when it is computed again",
    ),
}


@pytest.mark.parametrize(("body", "note"), NOTES.values(), ids=NOTES.keys())
def test_what_differs_from_the_script_is_noted(capture: Capture, body: str, note: str) -> None:
    assert any(note in said for said in capture(body).notes)


FAILURES = {
    "never": ("net(X.flatten(1))", (), "ended without an optimizer.step()", "SGD; batches"),
    "exit": ("sys.exit(3)", (), "sys.exit(3) (train.py, line", "after --"),
    "argparse": (MAIN, (), "following arguments are required: --lr", "after --"),
    "raises": (CRITERION.replace("(x)", "(x[:, 1:])"), (), "raised RuntimeError", "module: 1"),
    "syntax": ("def f(:", (), "raised SyntaxError", "none"),
    "no-backward": ("for x, y in loader:\n    net(x)\n    opt.step()", (),
                    "without a backward()", "backward(): 0"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "arguments", "message", "hint"), FAILURES.values(),
                         ids=FAILURES.keys())  # fmt: skip
def test_how_far_it_got_is_said(
    capture: Capture, body: str, arguments: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(LoadError) as caught:
        capture(body, *arguments)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


UNREPLAYED = {
    "no-module": "w = torch.zeros(8, 3, requires_grad=True)\nopt = torch.optim.SGD([w])\n"
                 "for x, y in loader:\n    F.cross_entropy(x @ w, y).backward()\n    opt.step()",
    "no-optimizer": "for epoch in range(20):\n    for x, y in loader:\n"
                    "        F.cross_entropy(net(x), y).backward()\nopt = None",
}  # fmt: skip


@pytest.mark.parametrize("body", UNREPLAYED.values(), ids=UNREPLAYED)
def test_what_cannot_be_replayed_is_observed(capture: Capture, body: str) -> None:
    subject = capture(body)
    assert not subject.in_parts
    assert subject.rerun is not None
    assert subject.rerun.why
    assert "run again and observed" in subject.notes[0]


def test_a_module_runs_as_with_python_m(capture: Capture, tmp_path: Path) -> None:
    package = tmp_path / "captured_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(HEAD)
    (package / "train.py").write_text(f"from .parts import *\n{CRITERION}")
    request = LoadRequest(target="captured_package.train", capture=True)
    assert load(request).file == package / "train.py"
    for missing in ("captured_package.none", "none.py"):
        with pytest.raises(LoadError, match=r"no file or module|no such file"):
            load(LoadRequest(target=missing, capture=True))


LIGHTNING = """
import lightning
class Lit(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = mlp(8, 2), mlp(2, 8)
    def training_step(self, batch, index):
        x, _ = batch
        loss = F.mse_loss(self.decoder(self.encoder(x)), x)
        self.log("loss", loss)
        return loss
    def validation_step(self, batch, index):
        self.log("val", self.training_step(batch, index))
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False,
                            enable_checkpointing=False, enable_progress_bar=False)
trainer.fit(Lit(), loader, DataLoader(loader.dataset, 16))
"""
TRANSFORMERS = """
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=3, **sizes))
words = torch.randint(20, (64, 6))
rows = [dict(input_ids=x, labels=x[0] % 3) for x in words]
arguments = TrainingArguments("run", use_cpu=True, report_to=[], disable_tqdm=True)
Trainer(model=model, args=arguments, train_dataset=rows).train()
"""
ACCELERATE = """
from accelerate import Accelerator
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
net, opt, loader = accelerator.prepare(net, opt, loader)
for x, y in loader:
    with accelerator.accumulate(net):
        accelerator.backward(F.cross_entropy(net(x), y))
        opt.step()
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("library", "body", "model"),
    [("lightning", LIGHTNING, "Lit"), ("transformers", TRANSFORMERS, "BertForSequence"),
     ("accelerate", ACCELERATE, "Sequential")],
)  # fmt: skip
def test_training_by_a_library(capture: Capture, library: str, body: str, model: str) -> None:
    pytest.importorskip(library)
    subject = capture(body)
    assert subject.name.startswith(model)
    assert subject.notes == ()
    assert len(list(subject.loader)) > 1


def test_options_that_do_not_go_with_it(capture: Capture) -> None:
    with pytest.raises(RecipeCheckError, match="finds its model"):
        capture(CRITERION, model="net")
    subject = capture(CRITERION, loss="nn.MultiMarginLoss", data="images")
    assert isinstance(subject.original.loss, nn.MultiMarginLoss)
    assert batch_of(subject)[0].shape == (16, 2, 4)


def test_a_replayed_loss_stands_at_its_line_of_the_script(capture: Capture) -> None:
    subject = capture(MAIN, "--lr", "0.3")
    seen = LossObserver()
    with Watch(seen):
        Lab(subject, device="cpu").rig().step(batch_of(subject))
    (where,) = (term.location for term in seen.terms)
    assert where.file == "train.py"
    assert where.source[where.column - 1 : where.end_column - 1].startswith("F.cross_entropy(")


BUG = MAIN.replace("return self.head(F.relu(self.body(x)))",
                    "return self.head(F.relu(self.body(x))).softmax(0)")  # fmt: skip


def test_the_command_line_finds_a_planted_bug_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(HEAD + BUG)
    done = run(tmp_path, "train.py", "--capture", "--only", "batch-dependency",
               "--no-html", "--json", "r.json", "--", "--lr", "0.3")  # fmt: skip
    assert done.returncode == 1, done.stderr
    (leak,) = json.loads((tmp_path / "r.json").read_text())["results"]
    line = leak["verdict"]["location"]["line"]
    assert "softmax(0)" in (HEAD + BUG).splitlines()[line - 1]
    again = ["recipe-check", "run", "train.py", "--capture", "--only", "batch-dependency"]
    assert leak["reproduce"] == [*again, "--seed", "0", "--", "--lr", "0.3"]


def test_show_says_what_would_be_checked(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(HEAD + MAIN)
    done = run(tmp_path, "show", "train.py", "--capture", "--", "--lr", "0.3")
    assert "lr 0.3" in done.stdout
    assert "read at train.py:" in done.stdout
