"""Does what is frozen stay frozen?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipe_check import Cause, CauseState, Fix, Location, Meta, Status, Verdict

if TYPE_CHECKING:
    from recipe_check import Lab


@dataclass(frozen=True)
class Freeze:
    """Names of tensors and modules, each tuple empty where nothing is wrong."""

    frozen: int  # tensors that require no gradient as loaded
    thawed: tuple[str, ...]  # of them, those that train() makes trainable
    misspelt: tuple[str, ...]  # parameters with an attribute like `require_grad`
    ineffective: tuple[str, ...]  # modules whose `requires_grad = False` freezes nothing
    drifting: tuple[str, ...]  # frozen normalisation layers whose statistics move in training
    location: Location | None
    unthawed: tuple[str, ...] = ()  # modules whose `requires_grad = True` thaws nothing
    words: str = ""  # an embedding whose padding_idx is not the padding


@dataclass(frozen=True, kw_only=True)
class Freezing:
    """Does what is frozen stay frozen?

    What it measures
    ----------------
    Which parameters require a gradient as loaded and after `model.train()`; attributes that look
    like a misspelt `requires_grad`; normalisation layers with frozen weights whose running
    statistics are updated in training mode.

    Why it matters
    --------------
    A pretrained backbone that was meant to stay changes with the first step, or its batch
    statistics drift to the new data while its weights stay.

    How it decides
    --------------
    fail: `model.train()` makes frozen parameters trainable; parameters carry `require_grad` (or the
    like), which torch never reads; a module got `requires_grad = False` or True, which freezes and
    thaws nothing. warn: an embedding's padding_idx is another word than the one that rows are
    padded with; running statistics of frozen normalisation layers move in training mode, and no
    line of the training loop switches them to eval.

    Cost
    ----
    No pass of the model.

    Known limits
    ------------
    What was meant to be frozen can only be told from what is. Adapting batch statistics to new
    data on purpose is warned of.

    Example
    -------
    `self.backbone.eval()` in `__init__`: the next `model.train()` undoes it.

    Fix
    ---
    `module.requires_grad_(False)`; override train() to keep the frozen part in eval mode.

    Sources
    -------
    PyTorch documentation of nn.Module.train and requires_grad_; GH pytorch/vision references
    (FrozenBatchNorm2d).
    """

    meta: ClassVar[Meta] = Meta(
        id="freezing",
        stage="model",
        title="What is frozen stays frozen",
        fail_title="What is frozen does not stay frozen",
        cost="0",
        preset="quick",
    )

    def measure(self, lab: Lab) -> Freeze:
        from ._freeze import see_freeze

        return see_freeze(lab)

    def judge(self, seen: Freeze) -> Verdict:
        problems = _problems(seen)
        if not problems:
            kept = f"{seen.frozen} tensors are frozen and stay so" if seen.frozen else (
                "nothing is frozen"
            )  # fmt: skip
            return Verdict(
                status=Status.PASS, message=kept, measured=f"{seen.frozen} frozen",
                expected="unchanged by train()",
            )  # fmt: skip
        status, title, text, fix = problems[0]
        return Verdict(
            status=status,
            message=text,
            measured=title,
            expected="frozen parts unchanged by train()",
            causes=tuple(Cause(title=p[1], state=CauseState.MATCHES) for p in problems),
            fix=Fix(text=fix),
            location=seen.location,
            values={"frozen": seen.frozen},
        )


def _problems(seen: Freeze) -> list[tuple[Status, str, str, str]]:
    found = []
    if seen.thawed:
        found.append((
            Status.FAIL, "train() unfreezes parameters",
            f"model.train() makes {len(seen.thawed)} of {seen.frozen} frozen tensors trainable: "
            f"{_some(seen.thawed)}",
            "set requires_grad once, outside train(), or freeze again after super().train(mode)",
        ))  # fmt: skip
    if seen.misspelt:
        found.append((
            Status.FAIL, "a misspelt requires_grad",
            f"{len(seen.misspelt)} parameters carry an attribute that torch never reads: "
            f"{_some(seen.misspelt)}",
            "write requires_grad = False, or module.requires_grad_(False)",
        ))  # fmt: skip
    if seen.ineffective:
        found.append((
            Status.FAIL, "requires_grad is set on a module",
            f"requires_grad = False was set on {_some(seen.ineffective)}, which freezes nothing",
            "call module.requires_grad_(False)",
        ))  # fmt: skip
    if seen.unthawed:
        found.append((
            Status.FAIL, "requires_grad is set on a module",
            f"requires_grad = True was set on {_some(seen.unthawed)}, which thaws nothing: its "
            "parameters stay frozen",
            "call module.requires_grad_(True)",
        ))  # fmt: skip
    if seen.words:
        found.append((
            Status.WARN, "padding_idx is not the padding", seen.words,
            "give the embedding the token that rows are padded with",
        ))  # fmt: skip
    if seen.drifting:
        found.append((
            Status.WARN, "batch statistics of frozen layers drift",
            f"running statistics of {len(seen.drifting)} frozen normalisation layers are updated "
            f"in training mode: {_some(seen.drifting)}",
            "override train() so that the frozen part stays in eval mode",
        ))  # fmt: skip
    return found


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
