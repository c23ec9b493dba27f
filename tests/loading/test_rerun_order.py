"""What a script does, in order: slips that are planted in it, sound scripts, and traps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recipe_check.checks import _loop_rules, _rerun_order
from recipe_check.checks._rerun_rules import slips_of
from recipe_check.loading.script_run import execute, main_module, spec_of
from recipe_check.probes.rerun import Recorded, Script, Wanted
from recipe_check.probes.rerun_hold import Holding
from recipe_check.probes.rerun_log import Log
from recipe_check.probes.rerun_watch import Watch

pytestmark = pytest.mark.filterwarnings("ignore")
HEAD = """
import copy, torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(1)
X = torch.randn(160, 8)
Y = X[:, :3].argmax(1)
loader = DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=True)
held = DataLoader(TensorDataset(X, Y), batch_size=8)
def mlp(inputs=8, outputs=3):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, outputs))
net = mlp()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
sched = torch.optim.lr_scheduler.StepLR(opt, 1)
"""
LOOP = """
for epoch in range(5):
    net.train()
    for i, (x, y) in enumerate(loader):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
    sched.step()
    net.eval()
    with torch.no_grad():
        correct = sum((net(x).argmax(1) == y).sum() for x, y in held)
"""
ZERO, CLIP, STEP = "opt.zero_grad()", "clip_grad_norm_(net.parameters(), 1.0)", "opt.step()"
BACK = "loss.backward()"
LINE = "\n        "
SCALER = LOOP.replace(BACK, "scaler.scale(loss).backward()").replace(
    STEP, "scaler.step(opt)\n        scaler.update()")  # fmt: skip
AMP = 'scaler = torch.amp.GradScaler("cpu", init_scale=256.0)\n'
SUMMED = """
for epoch in range(5):
    for i, (x, y) in enumerate(loader):
        loss = F.cross_entropy(net(x), y) / {by}
        loss.backward()
        if (i + 1) % 3 == 0 or i + 1 == len(loader):
            opt.step()
            opt.zero_grad()
"""
MANUAL = """
weights = [p for p in mlp().parameters()]
W, b, V, c = weights
for epoch in range(5):
    for x, y in loader:
        loss = F.cross_entropy(F.relu(x @ W.T + b) @ V.T + c, y)
        loss.backward()
        for p in weights:
            p.data -= 0.01 * p.grad
            p.grad = None
"""


def replaced(*pairs: tuple[str, str], text: str = LOOP) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


NOT_CLEARED = "gradients are not cleared (zero_grad missing)"
EVAL = "the model stays in eval mode"
# the script, the title of the slip, whether it is certain, what stands in its line
PLANTED = {
    "never-cleared": (replaced((ZERO, "pass")), NOT_CLEARED, True, BACK),
    "cleared-once-an-epoch": (
        replaced((ZERO, "pass"), ("net.train()", "net.train(); opt.zero_grad()")),
        NOT_CLEARED, True, BACK),
    "other-optimizer-cleared": (
        replaced((ZERO, "torch.optim.SGD(mlp().parameters(), lr=1).zero_grad()")),
        NOT_CLEARED, True, BACK),
    "by-hand-not-cleared": (MANUAL.replace("p.grad = None", "pass"), NOT_CLEARED, True, BACK),
    "cleared-too-late": (
        replaced((ZERO, "pass"), (CLIP, "net.zero_grad()")),
        "gradients are cleared before the step", True, "net.zero_grad()"),
    "clipped-late": (
        replaced((CLIP, "pass"), (STEP, STEP + LINE + CLIP)),
        "gradients are clipped after the step", True, CLIP),
    "clipped-after-clearing": (
        replaced((CLIP, "pass"), (ZERO, ZERO + LINE + CLIP)),
        "gradients are clipped after the step", True, CLIP),
    "schedule-first": (
        replaced(("    sched.step()\n", ""), ("net.train()", "net.train(); sched.step()")),
        "the scheduler steps before the optimizer", False, "sched.step()"),
    "undivided": (SUMMED.format(by=1).replace(" / 1", ""),
                  "accumulated gradients are not divided", False, BACK),
    "eval-from-the-second-epoch": (replaced(("net.train()", "pass")), EVAL, True, "net.eval()"),
    "eval-from-the-start": (replaced(("net.train()", "net.eval()")), EVAL, True, "net.eval()"),
    "scaled-clip": (AMP + SCALER, "scaled gradients are clipped", True, CLIP),
    "steps-on-scaled-gradients": (
        AMP + replaced((CLIP, "pass"), (BACK, "scaler.scale(loss).backward()")),
        "the optimizer steps with scaled gradients", True, STEP),
    "old-model-in-the-optimizer": (
        "net = mlp()\n" + LOOP, "the optimizer holds other weights than the model", True,
        "opt = torch.optim.SGD"),
    "new-tensor": (
        replaced((BACK, "torch.tensor(loss.item(), requires_grad=True).backward()")),
        "backward() reaches no weight of the optimizer", True, "torch.tensor(loss.item()"),
    "never-steps": (replaced((STEP, "pass")), "the optimizer never steps", True, BACK),
}  # fmt: skip

SAM = """
class SAM(torch.optim.Optimizer):
    def __init__(self, params, base, rho=0.05, **kw):
        super().__init__(params, dict(rho=rho, **kw))
        self.base = base(self.param_groups, **kw)
        self.param_groups = self.base.param_groups
    @torch.no_grad()
    def first_step(self):
        for p in [p for g in self.param_groups for p in g["params"]]:
            self.state[p]["old"] = p.data.clone()
            p.add_(p.grad * 0.05)
        self.zero_grad()
    @torch.no_grad()
    def second_step(self):
        for p in [p for g in self.param_groups for p in g["params"]]:
            p.data = self.state[p]["old"]
        self.base.step()
        self.zero_grad()
opt = SAM(net.parameters(), torch.optim.SGD, lr=0.1)
for epoch in range(3):
    for x, y in loader:
        F.cross_entropy(net(x), y).backward()
        opt.first_step()
        F.cross_entropy(net(x), y).backward()
        opt.second_step()
"""
GAN = """
maker, critic = mlp(4, 8), mlp(8, 1)
makes, judges = (torch.optim.Adam(m.parameters()) for m in (maker, critic))
bce = F.binary_cross_entropy_with_logits
for epoch in range(3):
    for i, (real, _) in enumerate(loader):
        one = torch.ones(len(real), 1)
        judges.zero_grad()
        fake = maker(torch.randn(len(real), 4))
        bce(critic(real), one).backward()
        bce(critic(fake.detach()), 0 * one).backward()
        judges.step()
        if i % 2 == 0:
            makes.zero_grad()
            bce(critic(fake), one).backward()
            makes.step()
"""
RECURRENT = """
class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 3)
    def forward(self, x, state):
        seen, state = self.cell(x, state)
        return self.out(seen), state
net = Cell()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
rows = DataLoader(TensorDataset(torch.randn(32, 12, 8), torch.randint(3, (32, 12))), batch_size=8)
for epoch in range(3):
    for x, y in rows:
        state = torch.zeros(1, len(x), 16)
        {before}
        for start in range(0, 12, 4):
            state = state.detach()
            {inside}
            out, state = net(x[:, start:start + 4], state)
            F.cross_entropy(out.flatten(0, 1), y[:, start:start + 4].flatten()).backward()
            {then}
        {after}
"""
CLOSURE = """
opt = torch.optim.LBFGS(net.parameters(), max_iter=4, line_search_fn="strong_wolfe")
points = torch.linspace(0, 1, 80).view(10, 8).requires_grad_()
def closure():
    opt.zero_grad()
    out = net(points)
    slope = torch.autograd.grad(out.sum(), points, create_graph=True)[0]
    loss = (out - 1).square().mean() + slope.square().mean()
    loss.backward()
    return loss
for step in range(8):
    opt.step(closure)
"""
# sound, and each of them strange in its own way
SOUND = {
    "data-with-gradients-in-a-closure": CLOSURE,
    "data-with-gradients-by-hand": MANUAL.replace(
        "for x, y in loader:", "for x, y in [(X[:8].requires_grad_(), Y[:8])] * 8:"),
    "usual": LOOP,
    "set-to-zero": replaced((ZERO, "opt.zero_grad(set_to_none=False)")),
    "cleared-by-the-model": replaced((ZERO, "net.zero_grad()")),
    "cleared-by-hand": replaced((ZERO, "for p in net.parameters(): p.grad = None")),
    "cleared-in-place": replaced(
        (ZERO, "[p.grad.data.zero_() for p in net.parameters() if p.grad is not None]")),
    "cleared-after": replaced((ZERO, "pass"), (STEP, STEP + LINE + ZERO)),
    "no-clip": replaced((CLIP, "pass")),
    "accumulated": SUMMED.format(by="3"),
    "accumulated-summed-by-count": SUMMED.format(by="len(x)").replace("y) /", "y).sum() /"),
    "gradients-divided": SUMMED.format(by=1).replace(" / 1", "").replace(
        "            opt.step()",
        "            for p in net.parameters(): p.grad /= 3\n            opt.step()"),
    "amp": AMP + replaced((CLIP, "scaler.unscale_(opt)" + LINE + CLIP), text=SCALER),
    "amp-unscaled-by-hand": AMP + replaced(
        (CLIP, "pass"), (BACK, "scaler.scale(loss).backward()"),
        (STEP, "scaler.unscale_(opt)" + LINE + STEP + LINE + "scaler.update()")),
    "amp-switched-off": AMP.replace("256.0", "256.0, enabled=False") + SCALER,
    "norm-measured-late": replaced(
        (CLIP, "pass"), (STEP, STEP + LINE + "clip_grad_norm_(net.parameters(), float('inf'))")),
    "sam": SAM,
    "gan": GAN,
    "tbptt-steps": RECURRENT.format(before="", inside="opt.zero_grad()", then="opt.step()",
                                    after=""),
    "tbptt-sums": RECURRENT.format(before="opt.zero_grad()", inside="", then="",
                                   after="opt.step()"),
    "closure": """
opt = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=3)
for epoch in range(3):
    for x, y in loader:
        def closure():
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss
        opt.step(closure)
""",
    "frozen-backbone-in-eval": """
class Tuned(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = mlp(8, 8).requires_grad_(False), nn.Linear(8, 3)
    def forward(self, x):
        return self.head(self.body(x))
net = Tuned().eval()
opt = torch.optim.SGD(net.head.parameters(), lr=0.1)
""" + replaced(("net.train()", "net.eval()"), ("    sched.step()\n", "")),
    "attack-in-eval": replaced(
        ("loss = F", "net.eval(); x.requires_grad_()\n        noise = torch.autograd.grad("
         "F.cross_entropy(net(x), y), x)[0].sign()\n        net.train(); x = x.detach() + 0.01 * "
         "noise\n        loss = F")),
    "schedule-with-position": replaced(
        (STEP, "sched.step(epoch)" + LINE + STEP), ("    sched.step()\n", "")),
    "warm-start-step": "opt.step()\nsched.step()\n" + LOOP,
    "two-optimizers-one-loss": """
a = torch.optim.SGD([net[0].weight, net[3].weight], lr=0.1)
b = torch.optim.AdamW([net[0].bias, net[3].bias])
""" + replaced((ZERO, "a.zero_grad(); b.zero_grad()"), (STEP, "a.step(); b.step()"),
               ("    sched.step()\n", "")),
    "teacher": """
teacher = copy.deepcopy(net).eval()
""" + replaced(("F.cross_entropy(net(x), y)", "F.cross_entropy(net(x), y) + F.mse_loss(net(x), "
                "teacher(x).detach())")),
    "by-hand": MANUAL,
}  # fmt: skip
Observe = Callable[[str], Recorded]


class Enough(BaseException):
    """Leaves the script."""


@pytest.fixture
def observe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observe:
    """`observe(body)` → what was recorded of the script, in this process."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)

    def run(body: str) -> Recorded:
        (tmp_path / "train.py").write_text(HEAD + body)
        wanted = Wanted(script=Script(target="train.py"), order=True, steps=40)

        def stop(why: str) -> None:
            raise Enough(why)

        log, holding, spec = Log(wanted, stop), Holding(wanted), spec_of("train.py")
        try:
            with Watch(log, holding).watching():
                execute(spec, main_module(spec))
        except Enough as enough:
            return log.recorded(str(enough), 0, alike=False)
        return log.recorded("end", 0, alike=False)

    return run


@pytest.mark.parametrize(("body", "title", "certain", "line"), PLANTED.values(), ids=PLANTED)
def test_a_slip_is_found_at_its_line(
    observe: Observe, body: str, title: str, certain: bool, line: str
) -> None:
    (slip,) = slips_of(observe(body))
    assert (slip.title, slip.certain) == (title, certain)
    assert slip.location is not None
    assert line in slip.location.source


@pytest.mark.parametrize("body", SOUND.values(), ids=SOUND)
def test_a_sound_script_is_in_order(observe: Observe, body: str) -> None:
    seen = observe(body)
    assert slips_of(seen) == ()
    assert seen.steps >= _rerun_order.ENOUGH
    assert {"step", "update"} & {event.kind for event in seen.events}


def test_the_adaptive_optimizers_hide_a_scaled_clip(observe: Observe) -> None:
    body = AMP + "opt = torch.optim.AdamW(net.parameters())\n" + SCALER
    (slip,) = slips_of(observe(body))
    assert not slip.certain


def test_titles_are_those_of_the_source_rules() -> None:
    known = {*_rerun_order.DECIDED, _rerun_order.EVAL, _rerun_order.UNDIVIDED}
    assert known <= set(_loop_rules.TITLES)
