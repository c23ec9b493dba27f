"""What of a batch a loss leaves out or counts double: padding, single steps, parts of a sum."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from recipe_check import Location
from recipe_check.errors import UserCodeError
from recipe_check.lab import seed_everything
from recipe_check.probes.loops import user_files
from recipe_check.probes.watch import Watch
from recipe_check.returned import logits_of, scalar
from recipe_check.userframes import relative

from ._loss_batches import repeated
from ._loss_probe import loss_probe
from ._recorded_ops import Recorder, Recording
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab

EXACT = 1e-3  # relative
SAME = 1e-5  # relative: a part that does not look at the data
PADDED = 0.5  # share of the positions from which a mean over all is less than half of the loss
LEAST_SHARE = 0.01  # of the loss, from which a part counts
_TORCH_ERRORS = (UserCodeError, RuntimeError, TypeError, ValueError, IndexError)
_NOISE = {"randn": 0.0, "randn_like": 0.0, "normal": 0.0, "rand": 0.5, "rand_like": 0.5}


def diluted(lab: Lab, line: Location | None) -> Breach | None:
    """A masked loss whose mean is taken over the padding, too: with as much padding again it is
    half as large. Cost: 2 F of the loss alone."""
    probe = loss_probe(lab)
    if probe is None or probe.step or not isinstance(probe.output, torch.Tensor):
        return None
    rig, output = probe.rig, probe.output.detach()
    target = rig.split(probe.batch).target
    value = _padding_of(target) if isinstance(target, torch.Tensor) else None
    if value is None or output.shape[:2] != target.shape or rig.loss is None:
        return None
    labels = [rig.split(batch).target for batch in lab.train_batches]
    share = max(float((y == value).double().mean()) for y in labels)
    longer = torch.cat((output, torch.zeros_like(output)), 1)
    padded = torch.cat((target, torch.full_like(target, value)), 1)
    try:
        with torch.no_grad():
            once = float(scalar(rig.loss(logits_of(output, rig.loss), target)))
            twice = float(scalar(rig.loss(logits_of(longer, rig.loss), padded)))
    except _TORCH_ERRORS:
        return None
    if not once or abs(2 * twice / once - 1) > EXACT or share < PADDED:
        return None
    return Breach(
        "the loss of the padding is left out, but its positions are counted",
        f"{share:.0%} of the positions are padding, and as much padding again makes the loss half "
        "as large: longer neighbours make a short sample's loss smaller",
        "divide the masked sum by the mask's sum: (loss * mask).sum() / mask.sum()",
        line,
        certain=False,
    )


def _padding_of(target: torch.Tensor) -> float | None:
    """The negative label that ends rows of different lengths."""
    if target.ndim != 2 or target.is_floating_point() or target.shape[1] < 2:
        return None
    value = int(target.min())
    kept = (target != value).long()
    ends = bool((kept.diff(dim=1) <= 0).all()) and len(torch.unique(kept.sum(1))) > 1
    return value if value < 0 and ends else None


def uneven(lab: Lab, taken: Recording) -> Breach | None:
    """A sum whose one part is summed over the batch and the other averaged (noise switched off).
    Cost: 3 F."""
    with suppress(*_TORCH_ERRORS):
        batches = lab.train_batches
        rig = lab.rig().quiet()
        first = rig.put(batches[0])
        once, twice = _summands(lab, first), _summands(lab, repeated(first, 2))
        other = _summands(lab, rig.put(batches[-1])) if len(batches) > 1 else None
        if other is None or not len(once) == len(twice) == len(other) > 1:
            return None
        total = sum(abs(v) for v, _ in once)
        powers = [
            _power(a, b) if abs(a - c) > SAME * abs(a) and abs(a) > LEAST_SHARE * total else None
            for (a, _), (b, _), (c, _) in zip(once, twice, other, strict=True)
        ]
        if 0 in powers and 1 in powers:
            summed, mean = once[powers.index(1)], once[powers.index(0)]
            return Breach(
                "one part of the loss is summed over the batch, another averaged",
                f"with twice the batch the part that is {summed[0]:.3g} doubles, the part that is "
                f"{mean[0]:.3g} stays: the batch size weighs them against each other",
                "use one reduction for all parts: sums over each sample, then the mean over the "
                "batch",
                mean[1] or taken.loss_line(),
                certain=False,
            )
    return None


def _power(once: float, twice: float) -> int | None:
    if not math.isfinite(once) or not once:
        return None
    return next((n for n in (0, 1) if abs(twice / once / 2**n - 1) < EXACT), None)


class _Still(TorchFunctionMode):
    """Noise that a step draws is its mean."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        still = _NOISE.get(getattr(func, "__name__", ""))
        return torch.full_like(out, still) if still is not None else out


def _summands(lab: Lab, batch: Any) -> list[tuple[float, Location | None]]:
    """What the loss adds up, in order, with the lines that gave it."""
    rig, ops = lab.rig().quiet(), Recorder()
    with _Still(), Watch(ops):
        seed_everything(lab.seed)
        step = rig.step(batch)
    taken = Recording(tuple(ops.seen), step.loss, step.output, (), (), {})
    found = []
    for part in taken.summands():
        op = taken.maker(part)
        found.append((float(part.detach()), op.location if op is not None else None))
    return found


def overwritten(lab: Lab, taken: Recording) -> Breach | None:
    """`loss = 0`, then `loss = criterion(…)` in a loop that never reads it: the last turn is all
    that is left. Read from the source; no pass."""
    for file in user_files(lab.subject.file):
        with suppress(OSError, SyntaxError, ValueError):
            text = file.read_text(encoding="utf-8")
            for name, node in _lost(ast.parse(text)):
                return Breach(
                    "a loop overwrites the loss",
                    f"`{name}` starts at 0 before the loop, and each turn sets it anew without "
                    "reading it: only the last turn's loss is left",
                    f"add up: {name} = {name} + …",
                    Location(file=relative(str(file)), line=node.lineno,
                             source=text.splitlines()[node.lineno - 1][:500]),
                    certain=False,
                )  # fmt: skip
    return None


def _lost(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Names with `loss` in them that a loop was to add up, and the statement that sets them."""
    for body in (getattr(node, "body", None) for node in ast.walk(tree)):
        statements = body if isinstance(body, list) else []
        for number, loop in enumerate(statements):
            if not isinstance(loop, ast.For) or _steps(loop):
                continue
            for node in loop.body:
                name = _set_name(node)
                zero = any(_is_zeroed(s, name) for s in statements[:number])
                later = any(name in _read(s) for s in statements[number + 1 :])
                if "loss" in name.lower() and zero and later and name not in _read(loop):
                    yield name, node


def _set_name(node: ast.stmt) -> str:
    """The name that a plain assignment with a call sets."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return ""
    target = node.targets[0]
    calls = any(isinstance(n, ast.Call) for n in ast.walk(node.value))
    return target.id if isinstance(target, ast.Name) and calls else ""


def _is_zeroed(node: ast.stmt, name: str) -> bool:
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
        return False
    same = any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    return same and node.value.value in (0, 0.0)


def _read(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _steps(loop: ast.For) -> bool:
    """Whether the loop trains: its loss is used in each turn."""
    names = {n.attr for n in ast.walk(loop) if isinstance(n, ast.Attribute)}
    return bool(names & {"backward", "step"})
