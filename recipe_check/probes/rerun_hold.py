"""What is kept the same while a script runs: its batch, or nothing but zeros as inputs."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from recipe_check import tree
from recipe_check.batches import LABEL_KEYS, forward_parameters
from recipe_check.lab import random_states, set_random_states
from recipe_check.probes.memory import Memory
from recipe_check.probes.rerun import Wanted
from recipe_check.probes.rerun_gradients import ReplacedSteps

ALIKE = 0.9  # share of the steps that must see the data of the first


class Holding:
    """The interventions of one run. Without a DataLoader a batch is held by giving the script the
    same random numbers at every step, which may not be what its data hang on: `is_alike` tells.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.changed = 0
        self._replaced = ReplacedSteps(wanted.rate) if wanted.rate else None
        self._batches: dict[int, tuple[Any, Any]] = {}
        self._random: tuple[Any, ...] = ()
        self._prints: list[str] = []
        self._now: list[str] = []
        self._memories: dict[int, Memory] = {}

    @property
    def is_alike(self) -> bool:
        """Whether the data that entered the modules were the same at (nearly) all steps."""
        if self._batches:
            return True
        later = self._prints[1:]  # at the first step nothing is held yet
        same = sum(found == later[-1] for found in later)
        return len(later) > 1 and same >= ALIKE * len(later)

    def fetch(self, loader: Any, batch: Any) -> Any:
        """The loader's first batch in the place of any other, copied: scripts take it apart."""
        if self.wanted.hold != "batch":
            return batch
        of = getattr(loader, "dataset", loader)
        kept = self._batches.setdefault(id(of), (of, _copied(batch)))
        self.changed += 1
        return _copied(kept[1])

    def enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """The arguments with which an outermost module is to be called. Those of one that gets
        something computed from weights (a loss, a decoder) stay, and so do targets."""
        if not torch.is_grad_enabled() or next(module.parameters(), None) is None:
            return args, kwargs
        named = {k: v for k, v in kwargs.items() if k not in LABEL_KEYS}
        if self.wanted.hold == "batch":
            self._now += [_print(leaf) for leaf in tree.leaves([args, named])]
            if id(module) not in self._memories:
                self._memories[id(module)] = Memory(module)
        computed = any(leaf.requires_grad for leaf in tree.leaves([args, named]))
        if self.wanted.hold != "inputs" or computed:
            return args, kwargs
        known = [p.name for p in forward_parameters(module)][: len(args)]
        names = known + [""] * (len(args) - len(known))
        blank = [a if n in LABEL_KEYS else self._blank(a) for n, a in zip(names, args, strict=True)]
        return tuple(blank), {**kwargs, **{k: self._blank(v) for k, v in named.items()}}

    def _blank(self, value: Any) -> Any:
        return tree.map_leaves(value, self._blanked)

    def _blanked(self, leaf: torch.Tensor) -> torch.Tensor:
        """Zeros; for whole numbers and truth values the first of them: a token, a mask."""
        if not leaf.numel():
            return leaf
        blank = torch.zeros_like(leaf) if leaf.is_floating_point() or leaf.is_complex() else \
            torch.full_like(leaf, leaf.flatten()[0].item())  # fmt: skip
        self.changed += not torch.equal(blank, leaf)
        return blank

    def begin_step(self, optimizer: Optimizer) -> None:
        if self._replaced is not None:
            self._replaced.begin(optimizer)

    def end_step(self, optimizer: Optimizer) -> None:
        if self._replaced is not None:
            self._replaced.end(optimizer)

    def next_step(self) -> None:
        """A step is over. What the model itself remembers is held, too: a queue of negatives would
        fill with the one batch."""
        for memory in self._memories.values():
            memory.put_back()
        if self._now:
            self._prints.append(" ".join(self._now))
        self._now = []
        if self.wanted.hold != "batch" or self._batches:
            return
        if self._random:
            set_random_states(self._random)
        else:
            self._random = random_states()


def _print(leaf: torch.Tensor) -> str:
    values = leaf.detach()
    return f"{tuple(leaf.shape)} {float(values.abs().double().sum()) if leaf.numel() else 0.0!r}"


def _copied(batch: Any) -> Any:
    """Containers and tensors of their own; what cannot be copied is shared."""
    try:
        return copy.deepcopy(batch)
    except Exception:
        return batch
