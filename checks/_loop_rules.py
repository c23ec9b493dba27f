"""The measurement of `train-step`: one rule for each mistake, on loops read from the source."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

from recipe_check import NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.probes.loops import Event, Training
from recipe_check.userframes import relative

from ._loop_metrics import wrong_axes
from ._loop_order import (
    cleared_before_step,
    evaluates_from_the_start,
    optimizer_anew,
    trains_on_validation,
)
from ._loop_places import depends_on_mode, learns, of_kinds, place
from .train_step import Loops, Slip

if TYPE_CHECKING:
    from recipe_check import Lab

_SCALE_FREE = (
    "Adam",
    "AdamW",
    "NAdam",
    "RAdam",
    "Adamax",
    "RMSprop",
    "Adagrad",
    "Adadelta",
    "Lion",
)
_CARRIES = ("load", "copy", "clone", "restore", "resume")  # what was learned is taken along
_STEPS = ("zero", "backward", "clip", "step", "schedule")


def see_loops(lab: Lab) -> Loops:
    """Applies every rule to every training loop of the user's files."""
    loops = lab.training_loops
    if not loops:
        raise NotApplicable("no training loop in the target's source")
    slips = [slip for loop in loops for rule in RULES for slip in rule(loop, lab)]
    return Loops(
        loops=tuple(_described(loop) for loop in loops),
        slips=tuple({(s.title, str(s.location)): s for s in slips}.values()),
        looked_for=TITLES,
    )


def _described(loop: Training) -> tuple[str, str, str]:
    first = next(loop.batch.events())
    kinds = [e.kind for e in loop.batch.events() if e.kind in _STEPS]
    return loop.batch.header, f"{relative(str(first.file))}:{loop.batch.line}", ", ".join(kinds)


def _hands_over(loop: Training, *words: str) -> bool:
    """Whether a call that was not followed gets the optimizer (or what the words name)."""
    calls = [e.node for e in loop.batch.events() if e.kind == "forward"]
    given = [
        ast.unparse(a).lower()
        for call in calls if isinstance(call, ast.Call)
        for a in (*call.args, *(k.value for k in call.keywords))
        if isinstance(a, ast.Name | ast.Attribute)
    ]  # fmt: skip
    return any(word in text for text in given for word in words)


def _never_cleared(loop: Training, lab: Lab) -> Iterator[Slip]:
    steps = of_kinds(loop, "step")
    if (
        not steps
        or not of_kinds(loop, "backward")
        or of_kinds(loop, "zero")
        or _hands_over(loop, "opt")
    ):
        return
    if any(isinstance(e.node, ast.Call) and "closure" in ast.unparse(e.node) for e in steps):
        return
    outside = [e for e in loop.epoch.events() if e.kind == "zero"] if loop.epoch else []
    guarded = all(e.guard for e in steps)
    if outside and guarded:
        return
    when = "only once an epoch" if outside else "never"
    yield Slip(
        "gradients are not cleared (zero_grad missing)",
        f"gradients are cleared {when}, and every step adds to those before it",
        "call optimizer.zero_grad() before each loss.backward()",
        place(outside[0] if outside else of_kinds(loop, "backward")[0]),
        certain=True,
    )


def _clipped_late(loop: Training, lab: Lab) -> Iterator[Slip]:
    """A clip right after a step and not right before another one, the loop read as a circle."""
    order = of_kinds(loop, "backward", "clip", "step")
    kinds = [e.kind for e in order if e.kind != "clip"]
    if not {"step", "backward"} <= set(kinds):
        return
    place_in_kinds = 0
    for event in order:
        if event.kind != "clip":
            place_in_kinds += 1
        elif kinds[place_in_kinds - 1] == "step" != kinds[place_in_kinds % len(kinds)]:
            yield Slip(
                "gradients are clipped after the step",
                "gradients are clipped after optimizer.step() has used them: the clipping does "
                "nothing",
                "clip between loss.backward() and optimizer.step()",
                place(event),
                certain=True,
            )
            return


def _undivided(loop: Training, lab: Lab) -> Iterator[Slip]:
    steps, backwards = of_kinds(loop, "step"), of_kinds(loop, "backward")
    inner = [e for e in loop.batch.events(nested=False) if e.kind == "backward"]
    alone = {e.guard for e in backwards}  # every n-th batch a step of its own (WGAN's generator)
    every = any("%" in e.guard and e.guard not in alone for e in steps)
    if any("retain_graph" in ast.unparse(e.node) for e in backwards):
        return  # several losses of one pass
    if not backwards or not steps or not (every or not inner):
        return
    if _divides(loop, backwards) or _hands_over(loop, "accelerator"):
        return
    optimizer = type(lab.subject.original.optimizer).__name__
    harmless = optimizer in _SCALE_FREE
    note = f" ({optimizer} hides most of it by its own scaling)" if harmless else ""
    yield Slip(
        "accumulated gradients are not divided",
        "gradients of several batches are added up and the loss is not divided by their number: "
        f"the learning rate is that many times larger{note}",
        "divide the loss by the number of accumulated batches before backward()",
        place(backwards[0]),
        certain=False,
    )


def _divides(loop: Training, backwards: list[Event]) -> bool:
    """Whether what backward is called on, or the gradients, are divided anywhere in the file."""
    if any("/" in e.owner or "*" in e.owner for e in backwards):
        return True
    scored = [part for e in backwards for part in _scored(e)]
    names = {ast.unparse(n) for part in scored for n in ast.walk(part)
             if isinstance(n, ast.Name | ast.Attribute)}  # fmt: skip
    tree = ast.parse(backwards[0].file.read_text(encoding="utf-8"))
    made: list[ast.expr] = [part for part in scored if not isinstance(part, ast.Name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div | ast.Mult):
            target = ast.unparse(node.target)
            if target in names or "grad" in target:
                return True
        if isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0])
            if target in names or "grad" in target:
                made.append(node.value)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".div_", ".mul_")):
            return True
    called = {ast.unparse(n.func).rsplit(".", 1)[-1] for value in made for n in ast.walk(value)
              if isinstance(n, ast.Call)}  # fmt: skip
    returned = [
        part for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in called
        for part in ast.walk(node) if isinstance(part, ast.Return | ast.Assign | ast.AugAssign)
    ]  # fmt: skip
    return any(isinstance(n, ast.Div) for part in (*made, *returned) for n in ast.walk(part))


def _scored(event: Event) -> list[ast.expr]:
    """What a backward call is made on: `loss` of `scaler.scale(loss).backward()` and of
    `accelerator.backward(loss)`, in the words of the file."""
    node = event.node
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return []
    return [node.func.value, *node.args, *(k.value for k in node.keywords)]


def _schedules_first(loop: Training, lab: Lab) -> Iterator[Slip]:
    kinds = [e for e in of_kinds(loop, "schedule", "step") if not e.guard]
    if not kinds or kinds[0].kind != "schedule" or not any(e.kind == "step" for e in kinds):
        return
    yield Slip(
        "the scheduler steps before the optimizer",
        "scheduler.step() runs before the first optimizer.step(): the first rate is skipped",
        "call scheduler.step() after optimizer.step()",
        place(kinds[0]),
        certain=False,
    )


def _stays_in_eval(loop: Training, lab: Lab) -> Iterator[Slip]:
    if loop.epoch is None:
        return
    events = list(loop.epoch.events())
    trained = {e.owner for e in loop.batch.events() if e.kind == "forward"}
    restored = {e.owner for e in events if e.kind in ("train", "assign")}
    if any(e.kind == "train" and e.owner not in trained for e in events):
        return  # under another name: `for net in (encoder, decoder): net.train()`
    learning = [o for o in trained - restored if learns(loop, o)]
    left = [e for e in events if e.kind == "eval" and e.owner in learning]
    if not left or restored & trained:
        return
    matters = any(depends_on_mode(m) for m in lab.subject.original.model.modules())
    yield Slip(
        "the model stays in eval mode",
        f"`{left[0].owner}` is switched to eval in every epoch and never back to train: from the "
        "second epoch on dropout and batch statistics are off",
        f"call {left[0].owner}.train() at the start of every epoch",
        place(left[0]),
        certain=matters,
    )


def _starts_anew(loop: Training, lab: Lab) -> Iterator[Slip]:
    around = loop.epoch
    if around is None or not _counts_epochs(around.header):
        return
    called = {e.owner for e in loop.batch.events() if e.kind == "forward"}
    learns = {e.owner.rsplit(".", 1)[0] for e in around.events()
              if e.owner.endswith((".parameters", ".named_parameters"))
              or e.kind in ("train", "eval")}  # fmt: skip
    anew = [e for e in around.events() if _is_anew(e, called, learns)]
    if not anew:
        return
    last = anew[-1]  # a function that builds the model assigns it inside, too
    how = "built" if last.kind == "assign" else "initialised"
    yield Slip(
        "the model starts anew in every epoch",
        f"`{last.owner}` is {how} again inside the loop over epochs: what was learned is lost",
        "build the model and its optimizer once, before the loop",
        place(last),
        certain=True,
    )


def _counts_epochs(header: str) -> bool:
    """`epoch in range(10)`, `epoch < 10`; not `n_epochs in (5, 10, 20)`, where runs start anew."""
    counter = header.lower().split(" in ")[0]
    return "epoch" in counter and not (" in " in header and "epochs" in counter)


def _is_anew(event: Event, called: set[str], learns: set[str]) -> bool:
    """A model that is trained is initialised, or assigned something that was not learned: not
    `model.to(device)`, not `load_checkpoint(path)`."""
    name = event.owner
    if event.kind == "assign":
        value = ast.unparse(getattr(event.node, "value", event.node))
        carried = name in value or any(word in value.lower() for word in _CARRIES)
        return name in called and name in learns and not carried
    return event.kind == "reset" and name.split(".")[0] in {c.split(".")[0] for c in called}


def _never_steps(loop: Training, lab: Lab) -> Iterator[Slip]:
    zeros = [e for e in of_kinds(loop, "zero") if "opt" in e.owner.lower()]
    if of_kinds(loop, "step") or not zeros or _hands_over(loop, "opt", "scaler"):
        return
    if any(e.owner.endswith("no_grad") for e in loop.batch.events()) or _steps_otherwise(loop):
        return
    yield Slip(
        "the optimizer never steps",
        "gradients are computed and cleared, and no optimizer.step() uses them",
        "call optimizer.step() after loss.backward()",
        place(of_kinds(loop, "backward")[0]),
        certain=True,
    )


def _steps_otherwise(loop: Training) -> bool:
    """Whether anything that is no scheduler has its `step` or `optimizer_step` called in the
    user's functions: an engine, or a wrapper around the optimizer."""
    files = {e.file for e in loop.batch.events()}
    nodes = [n for f in files for n in ast.walk(ast.parse(f.read_text(encoding="utf-8")))]
    calls = [n.func for n in nodes if isinstance(n, ast.Call)]
    steps = [f for f in calls if isinstance(f, ast.Attribute)
             and f.attr in ("step", "optimizer_step")]  # fmt: skip
    return any("sched" not in ast.unparse(f.value).lower() for f in steps)


def _measures_wrong(loop: Training, lab: Lab) -> Iterator[Slip]:
    output = _output(lab)
    if output is None or output.ndim != 2:
        return
    for file in {e.file for e in loop.batch.events()}:
        for node, why in wrong_axes(file, output.shape[1]):
            where = Event("metric", "", file, node.lineno, node.col_offset + 1)
            yield Slip(
                "the accuracy is taken over the wrong axis",
                f"{why}: the metric says nothing about the model",
                "argmax(dim=1) for scores of shape (batch, classes), a threshold for one output",
                place(where),
                certain=False,
            )


def _output(lab: Lab) -> torch.Tensor | None:
    try:
        found = lab.trace.output
    except UserCodeError:
        return None
    return found if isinstance(found, torch.Tensor) else None


Rule = Callable[[Training, "Lab"], Iterator[Slip]]
RULES: tuple[Rule, ...] = (
    _never_cleared, cleared_before_step, _clipped_late, evaluates_from_the_start, optimizer_anew,
    trains_on_validation, _stays_in_eval, _starts_anew, _never_steps, _undivided,
    _schedules_first, _measures_wrong,
)  # fmt: skip
TITLES = (
    "gradients are cleared before the step",
    "the optimizer is made anew at every step",
    "the training loop reads the validation data",
    "gradients are not cleared (zero_grad missing)",
    "gradients are clipped after the step",
    "the model stays in eval mode",
    "the model starts anew in every epoch",
    "the optimizer never steps",
    "accumulated gradients are not divided",
    "the scheduler steps before the optimizer",
    "the accuracy is taken over the wrong axis",
)
