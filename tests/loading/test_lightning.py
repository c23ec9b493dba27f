"""LightningModules: which is the model, where step, optimizer and data come from, what is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from recipe_check import Status
from recipe_check.errors import LoadError
from recipe_check.lab import Lab
from recipe_check.python_api import run
from recipe_check.subject import Stepping
from tests.loading.targets import checked, how, line_of, loaded

IMPORTS = {"lightning": "import lightning as L", "alias": "import pytorch_lightning as L"}
HEAD = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

def feed(rows=200):
    draw = torch.Generator().manual_seed(rows)
    labels = torch.arange(rows) % 3
    inputs = torch.randn(rows, 8, generator=draw) + 2.0 * F.one_hot(labels, 8)
    return DataLoader(TensorDataset(inputs, labels), batch_size=20, shuffle=True)

class Backbone(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
"""
STEP = """
        inputs, labels = batch
        logits = self(inputs)
        loss = F.cross_entropy(logits, labels)
        self.log("loss", loss, prog_bar=True)
        self.log_dict({"accuracy": (logits.argmax(1) == labels).double().mean()})
        self.log("rate", self.optimizers().param_groups[0]["lr"])
        if self.trainer.is_global_zero and self.current_epoch == 0:
            self.logger.experiment.add_histogram("logits", logits)
        return loss
"""
ADAM = "return torch.optim.AdamW(self.parameters(), lr=0.01)"
DATA = "train_loader = feed()\n"
LIT = "model = Lit()\n"


def target(
    step: str = STEP, optimizers: str = ADAM, more: str = "", imports: str = IMPORTS["lightning"]
) -> str:
    """A file with the class `Lit`; what follows it is the test's."""
    return f"""{imports}
{HEAD}
class Lit(L.LightningModule):
    def __init__(self, width=0):
        super().__init__()
        self.width = width
        self.net = Backbone()
    def forward(self, inputs):
        return self.net(inputs)
    def training_step(self, batch, batch_idx):
{step}
    def configure_optimizers(self):
        {optimizers}
{more}
"""


WAYS = {
    "only-instance": "thing = Lit()",
    "beside-its-parts": "net = Backbone()\nthing = Lit()",
    "class": "",
    "factory": "def make_model(): return Lit()",
    "of-two-by-name": "model = Lit()\nother = Lit()",
    "base-class": "class Tuned(Lit): pass",
}


@pytest.mark.parametrize("imports", IMPORTS.values(), ids=IMPORTS.keys())
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_the_module_is_found_and_takes_its_own_step(tmp_path: Path, way: str, imports: str) -> None:
    subject = loaded(tmp_path, target(imports=imports) + way + "\n" + DATA)
    assert subject.name == ("Tuned" if "Tuned" in way else "Lit")
    assert how(subject)["training step"] == f"the step of {subject.name}"
    lab = Lab(subject, device="cpu")
    assert lab.broken is None
    step = lab.rig().step(lab.train_batches[0])
    assert step.loss.requires_grad
    assert isinstance(lab.rig().own_optimizer(), torch.optim.AdamW)
    assert "log" not in vars(subject.original.model)


def test_a_class_is_made_with_arguments_and_made_anew(tmp_path: Path) -> None:
    text = target().replace("width=0", "width") + DATA
    with pytest.raises(LoadError, match=r"`Lit` needs the argument width"):
        loaded(tmp_path, text)
    subject = loaded(tmp_path, text, kwargs={"width": 5})
    assert subject.original.model.width == 5
    lab = Lab(subject, device="cpu")
    first, again = (next(lab.rig(fresh=n).model.parameters()) for n in (1, 2))
    assert not torch.equal(first, again)
    assert isinstance(lab.rig(fresh=1).own_optimizer(), torch.optim.AdamW)


FORMS: dict[str, tuple[str, type | None]] = {
    "list": ("return [opt]", None),
    "lists": ("return [opt], [plan]", torch.optim.lr_scheduler.StepLR),
    "lists-with-settings": (
        "return [opt], [{'scheduler': plan, 'interval': 'step'}]",
        torch.optim.lr_scheduler.StepLR,
    ),
    "dict": ("return {'optimizer': opt}", None),
    "dict-with-scheduler": (
        "return {'optimizer': opt, 'lr_scheduler': plan}",
        torch.optim.lr_scheduler.StepLR,
    ),
    "dict-with-settings": (
        "return {'optimizer': opt, 'lr_scheduler': {'scheduler': plan, 'monitor': 'loss'}}",
        torch.optim.lr_scheduler.StepLR,
    ),
    "tuple-of-dicts": (
        "return ({'optimizer': opt, 'lr_scheduler': plan},)",
        torch.optim.lr_scheduler.StepLR,
    ),
}
SGD = """opt = torch.optim.SGD(self.parameters(), lr=0.1)
        plan = torch.optim.lr_scheduler.StepLR(opt, 5)
        """


@pytest.mark.parametrize(("form", "scheduler"), FORMS.values(), ids=FORMS.keys())
def test_every_form_of_configure_optimizers(
    tmp_path: Path, form: str, scheduler: type | None
) -> None:
    subject = loaded(tmp_path, target(optimizers=SGD + form) + LIT + DATA)
    parts = subject.copy()
    assert isinstance(parts.optimizer, torch.optim.SGD)
    assert type(parts.scheduler) is (scheduler or type(None))
    assert parts.scheduler is None or parts.scheduler.optimizer is parts.optimizer
    assert how(subject)["optimizer"] == "configure_optimizers() of Lit"


def test_several_optimizers_are_one_or_the_default(tmp_path: Path) -> None:
    both = """first = torch.optim.SGD(self.net[0].parameters(), lr=0.1)
        second = torch.optim.{}(self.net[2].parameters(), lr=0.2)
        return first, second"""
    subject = loaded(tmp_path, target(optimizers=both.format("SGD")) + LIT + DATA)
    rates = [group["lr"] for group in subject.original.optimizer.param_groups]
    assert rates == [0.1, 0.2]
    assert subject.notes == ("the 2 optimizers of configure_optimizers() are checked as one",)
    mixed = loaded(tmp_path, target(optimizers=both.format("Adagrad")) + LIT + DATA)
    assert isinstance(mixed.original.optimizer, torch.optim.Adam)
    assert "Adam stands in" in mixed.notes[0]


def test_the_schedule_knows_the_length_of_the_training(tmp_path: Path) -> None:
    plan = """opt = torch.optim.SGD(self.parameters(), lr=0.1)
        steps = self.trainer.estimated_stepping_batches
        plan = torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=steps)
        return [opt], [plan]"""
    quiet = "logger=False, enable_checkpointing=False, enable_progress_bar=False"
    trainer = f"trainer = L.Trainer(max_epochs=3, accelerator='cpu', {quiet})\n"
    subject = loaded(tmp_path, target(optimizers=plan) + LIT + DATA + trainer)
    assert subject.original.scheduler.total_steps == 30
    assert (
        loaded(tmp_path, target(optimizers=plan) + LIT + DATA).original.scheduler.total_steps == 100
    )


# what is returned, how often the trainer steps the schedule, the verdict on it
RHYTHMS = {
    "by-the-step": ("[{'scheduler': plan, 'interval': 'step'}]", "every batch", Status.PASS),
    "forgotten": ("[plan]", "every epoch", Status.WARN),  # built for 30 steps, it gets 3
    "every-fifth-step": ("[{'scheduler': slow, 'interval': 'step', 'frequency': 5}]",
                         "every 5 batches", Status.PASS),
    "decay-by-the-step": ("[{'scheduler': decay, 'interval': 'step'}]", "every batch", Status.FAIL),
    "decay-by-the-epoch": ("[{'scheduler': decay, 'interval': 'epoch'}]", "every epoch",
                           Status.PASS),
}  # fmt: skip


@pytest.mark.parametrize(("returned", "often", "status"), RHYTHMS.values(), ids=RHYTHMS)
def test_interval_and_frequency_of_a_schedule(
    tmp_path: Path, returned: str, often: str, status: Status
) -> None:
    plans = f"""opt = torch.optim.SGD(self.parameters(), lr=0.1)
        plan = torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=30)
        slow = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 6)
        decay = torch.optim.lr_scheduler.ExponentialLR(opt, 0.5)
        return [opt], {returned}"""
    quiet = "logger=False, enable_checkpointing=False, enable_progress_bar=False"
    trainer = f"trainer = L.Trainer(max_epochs=3, accelerator='cpu', {quiet})\n"
    subject = loaded(tmp_path, target(optimizers=plans) + LIT + DATA + trainer)
    verdict = checked(subject, "lr-schedule")["lr-schedule"].verdict
    assert f"stepped {often} for 3 epochs" in verdict.message
    assert verdict.status is status


def test_accumulation_and_manual_optimization_of_a_schedule(tmp_path: Path) -> None:
    plan = """opt = torch.optim.SGD(self.parameters(), lr=0.1)
        plan = torch.optim.lr_scheduler.StepLR(opt, 5)
        return [opt], [{'scheduler': plan, 'interval': 'step', 'frequency': 2}]"""
    trainer = "trainer = L.Trainer(accumulate_grad_batches=4, max_steps=50, logger=False)\n"
    text = target(optimizers=plan)
    subject = loaded(tmp_path, text + LIT + DATA + trainer)
    assert subject.stepping == Stepping(per_batch=True, epochs=None, every=8)
    manual = "model = Lit()\nmodel.automatic_optimization = False\n"
    assert loaded(tmp_path, text + manual + DATA).stepping is None


PARTS = STEP.replace("self(inputs)", "self.net(inputs)")
BLOBS = """
class Blobs(L.LightningDataModule):
    def prepare_data(self):
        self.rows = 60
    def setup(self, stage):
        assert stage == "fit" and self.trainer.world_size == 1
        self.train, self.val = feed(self.rows), feed(40)
    def train_dataloader(self):
        return self.train
    def val_dataloader(self):
        return [self.val]
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch[0] * 100, batch[1]
"""


@pytest.mark.parametrize(
    "way", ["", "dm = Blobs()", "blobs = Blobs()", "dm = Blobs(); x = Blobs()"]
)
def test_a_data_module_is_set_up_as_fit_does(tmp_path: Path, way: str) -> None:
    subject = loaded(tmp_path, target(PARTS) + LIT + BLOBS + way)
    assert len(subject.loader.dataset) == 60
    assert len(subject.val_loader.dataset) == 40
    lab = Lab(subject, device="cpu")
    rig = lab.rig()
    seen = rig.forward(lab.train_batches[0])
    plain = rig.model.net(lab.train_batches[0][0] * 100)
    assert torch.equal(seen, plain)


def test_options_win_over_the_data_module(tmp_path: Path) -> None:
    text = target() + LIT + BLOBS + "dm = Blobs()\nfew = feed(20)\n"
    assert len(loaded(tmp_path, text, data="few").loader.dataset) == 20
    assert len(loaded(tmp_path, text, data="dm").loader.dataset) == 60
    text += "loss_fn = nn.CrossEntropyLoss()\nopt = torch.optim.SGD(model.parameters(), lr=0.5)\n"
    subject = loaded(tmp_path, text, loss="loss_fn", optimizer="opt", model="model")
    assert subject.training_step is None
    assert subject.original.optimizer.param_groups[0]["lr"] == 0.5


OWN_DATA = """
    def setup(self, stage):
        self.head = nn.Linear(3, 3)
    def train_dataloader(self):
        return {loaders}
    def val_dataloader(self):
        return feed(40)
"""


def test_the_modules_own_loaders_and_setup(tmp_path: Path) -> None:
    subject = loaded(tmp_path, target(more=OWN_DATA.format(loaders="feed(60)")))
    assert how(subject)["data"] == "train_dataloader() of Lit"
    assert len(subject.val_loader.dataset) == 40
    assert len(subject.original.optimizer.param_groups[0]["params"]) == 6
    assert hasattr(Lab(subject, device="cpu").rig(fresh=1).model, "head")


def test_several_training_loaders_are_read_side_by_side(tmp_path: Path) -> None:
    more = OWN_DATA.format(loaders="{'few': feed(40), 'many': feed(60)}")
    step = "        return F.cross_entropy(self.net(batch['many'][0]), batch['few'][1])"
    subject = loaded(tmp_path, target(step=step, more=more) + LIT)
    assert len(subject.loader) == 3
    lab = Lab(subject, device="cpu")
    assert lab.broken is None
    assert len(lab.train_batches) == 3


MANUAL = """
        first = self.optimizers()
        first.zero_grad()
        self.toggle_optimizer(first)
        self.manual_backward(F.cross_entropy(self.net(batch[0]), batch[1]))
        {}
        first.step()
        self.lr_schedulers().step()
"""
BY_HAND = "\n    @property\n    def automatic_optimization(self): return False\n"


def test_manual_optimization_with_one_loss_is_checked_with_a_note(tmp_path: Path) -> None:
    subject = loaded(tmp_path, target(step=MANUAL.format(""), more=BY_HAND) + LIT + DATA)
    assert "manual optimization" in subject.notes[0]
    found = checked(subject, "initial-loss", "gradient-norms")
    assert {result.status for result in found.values()} == {Status.PASS}


def test_manual_optimization_with_two_losses_says_why_not(tmp_path: Path) -> None:
    twice = MANUAL.format("self.manual_backward(self.net(batch[0]).mean())")
    subject = loaded(tmp_path, target(step=twice, more=BY_HAND) + LIT + DATA)
    broken = Lab(subject, device="cpu").broken
    assert broken is not None
    assert "manual optimization with 2 calls of manual_backward()" in broken.message
    assert "training_step(model, batch)" in broken.hint
    own = (
        "def training_step(model, batch):\n    return F.cross_entropy(model(batch[0]), batch[1])\n"
    )
    subject = loaded(tmp_path, target(step=twice, more=BY_HAND) + LIT + DATA + own)
    assert subject.training_step.__name__ == "training_step"
    assert Lab(subject, device="cpu").broken is None


SOUND = (
    "initial-loss",
    "loss-contract",
    "batch-dependency",
    "gradient-check",
    "optimizer-coverage",
)


def test_a_sound_module_passes(tmp_path: Path) -> None:
    found = checked(loaded(tmp_path, target() + LIT + DATA), *SOUND)
    assert {id: result.status for id, result in found.items()} == dict.fromkeys(SOUND, Status.PASS)


MISTAKES = {
    "loss-contract": ("logits = self(inputs)", "logits = self(inputs).softmax(dim=1)"),
    "batch-dependency": ("return self.net(inputs)", "return self.net(inputs - inputs.flip(0))"),
    "gradient-norms": (
        "logits = self(inputs)",
        "logits = self.net[2](self.net[1](self.net[0](inputs)).detach())",
    ),
}


@pytest.mark.parametrize("id", MISTAKES)
def test_a_mistake_in_the_step_is_found_with_its_line(tmp_path: Path, id: str) -> None:
    good, bad = MISTAKES[id]
    text = target().replace(good, bad) + LIT + DATA
    result = checked(loaded(tmp_path, text), id)[id]
    assert result.status is Status.FAIL
    assert line_of(result, tmp_path) == bad


def test_what_the_users_hooks_raise_is_shown_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="`configure_optimizers") as caught:
        loaded(tmp_path, target(optimizers="return self.missing") + LIT + DATA)
    assert "return self.missing" in caught.value.trace
    with pytest.raises(LoadError, match="returned a str"):
        loaded(tmp_path, target(optimizers="return 'adam'") + LIT + DATA)
    with pytest.raises(LoadError, match=r"more than one LightningModule: `Lit` .*`Other`"):
        loaded(tmp_path, target() + DATA + "class Other(L.LightningModule): pass")


def test_the_stand_in_says_what_it_does_not_know(tmp_path: Path) -> None:
    step = "        return self.trainer.strategy.loss"
    broken = Lab(loaded(tmp_path, target(step=step) + LIT + DATA), device="cpu").broken
    assert broken is not None
    assert "the trainer has no `strategy` here" in broken.message


@pytest.mark.filterwarnings("ignore")
def test_a_fit_that_starts_on_import_is_caught(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    fit = "L.Trainer(max_epochs=1, accelerator='cpu', logger=False).fit(Lit(), feed())\n"
    with pytest.raises(LoadError, match="started training while it was being loaded"):
        loaded(tmp_path, target(STEP.split("self.log(")[0] + "return loss") + fit)


def test_in_python_the_callers_module_stays_as_it_is(tmp_path: Path) -> None:
    subject = loaded(tmp_path, target() + LIT + DATA)
    model: Any = subject.original.model
    report = run(model, subject.loader, only=["initial-loss", "loss-contract"])
    assert report.run.objects_unchanged
    assert {result.status for result in report.results} == {Status.PASS}
    steps = []

    def step(module: Any, batch: Any) -> Any:
        steps.append(module)
        return torch.nn.functional.cross_entropy(module(batch[0]), batch[1])

    run(model, subject.loader, only=["initial-loss"], training_step=step)
    assert steps


def test_the_module_of_the_readme_is_ready_as_it_stands(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = readme.split("```python\nclass LitModel")[1].split("```")[0]
    text = f"import lightning\n{HEAD}\nclass LitModel{shown}".replace(
        "Linear(4, 3)", "Linear(8, 3)"
    )
    found = checked(loaded(tmp_path, text + DATA), "initial-loss", "optimizer-coverage")
    assert {result.status for result in found.values()} == {Status.PASS}


def test_metrics_of_torchmetrics_are_no_part_of_the_output(tmp_path: Path) -> None:
    metric = "torchmetrics.Accuracy(task='multiclass', num_classes=3)"
    text = target(PARTS).replace(
        "self.net = Backbone()", f"self.net = Backbone(); self.hit = {metric}"
    )
    text = text.replace(
        "        return loss", "        self.hit(logits, labels)\n        return loss"
    )
    lab = Lab(loaded(tmp_path, "import torchmetrics\n" + text + LIT + DATA), device="cpu")
    assert lab.broken is None
    assert lab.rig().step(lab.train_batches[0]).output.shape == (20, 3)
