"""Scripts whose step cannot be taken out of them: what can still be said is seen by letting them
run, each time in a process of its own."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec
from torch import nn

from recipe_check.loading.module import creation_lines
from recipe_check.loading.script_watch import Watch
from recipe_check.probes.rerun import Script
from recipe_check.request import LoadRequest, split_target
from recipe_check.run_report import Found
from recipe_check.subject import Parts, Subject


def script_again(request: LoadRequest, folder: Path, seconds: float) -> Script:
    """How to run the script of the request once more."""
    return Script(
        target=split_target(request.target)[0],
        arguments=request.script_args,
        root=request.root,
        folder=str(folder),
        seed=request.seed,
        seconds=seconds,
    )


def can_observe(watch: Watch) -> bool:
    """Whether the script computed gradients at all."""
    if watch.record.backwards or watch.record.derivatives:
        return True
    held = [p for o in watch.optimizers for group in o.param_groups for p in group["params"]]
    return any(p.grad is not None for p in held)


def observable(module: ModuleType, watch: Watch, again: Script, why: str) -> Subject:
    """A subject without parts; `why` its step could not be taken out."""
    model = _model(watch)
    optimizers = ", ".join(sorted({type(o).__name__ for o in watch.optimizers}))
    made = "made in the script" if optimizers else "weights change without"
    return Subject(
        name=" + ".join(type(part).__name__ for part in model) or "tensors without a module",
        original=Parts(model, None),
        loader=(),
        file=Path(str(module.__file__)),
        found=(
            Found(role="model", summary=_described(model), how="called in the script"),
            Found(role="optimizer", summary=optimizers or "none of torch.optim", how=made),
        ),
        notes=(f"{why}: the script is run again and observed",),
        created=creation_lines(model),
        rerun=msgspec.structs.replace(again, why=why),
        in_parts=False,
    )  # fmt: skip


def _model(watch: Watch) -> nn.ModuleList:
    """The modules that the script called and that have weights."""
    return nn.ModuleList(watch.record.called.values())


def _described(model: nn.ModuleList) -> str:
    count = sum(p.numel() for p in model.parameters())
    names = ", ".join(type(part).__name__ for part in model) or "none"
    return f"{names}, {count:,} parameters"
