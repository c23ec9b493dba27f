"""Hyper-parameters of an optimizer that stand out: told from their values, or tested by a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .optimizer_learns import Oddity

HORIZON = 200.0  # steps in which decay alone should not take weights to a third: lr x decay < 1/200
MOST_MOMENTUM = 0.995  # published runs use up to 0.99: it averages a hundred steps
LEAST_SQUARES = 0.5  # of the second beta: published runs use 0.9 to 0.9999
FADED = 10.0  # of lr_decay times the steps: the rate is below a tenth
_DECOUPLED = ("AdamW", "Adafactor", "Muon", "Lion")


def standing_out(optimizer: torch.optim.Optimizer, steps: int) -> Iterator[Oddity]:
    """Values that defeat their purpose whatever the loss does; no run is needed."""
    for group in optimizer.param_groups:
        rate, decay = float(group.get("lr", 0.0)), float(group.get("weight_decay", 0.0))
        betas = [float(b) for b in group.get("betas", ())]
        momentum = max(float(group.get("momentum", 0.0)), betas[0] if betas else 0.0)
        if len(betas) == 2 and betas[0] ** 2 >= math.sqrt(betas[1]):  # Kingma & Ba 2015, 4.1
            yield Oddity(
                "the betas are swapped",
                f"betas are {group['betas']}: the mean of the gradients is longer than that of "
                "their squares (usual: (0.9, 0.999))",
            )
        elif len(betas) == 2 and betas[1] < LEAST_SQUARES:
            yield Oddity(
                "the betas are 1 minus what torch takes",
                f"betas are {group['betas']}: the squares of the gradients are averaged over "
                f"{1 / (1 - betas[1]):.1f} steps (usual: (0.9, 0.999))",
            )
        elif MOST_MOMENTUM <= momentum < 1:
            yield Oddity(
                "the momentum is too high",
                f"a momentum of {momentum:g} averages over {1 / (1 - momentum):.0f} steps",
            )
        pull = rate * decay * (1.0 if betas else 1 / max(1 - momentum, 1e-3))
        shrinks = _is_decoupled(optimizer, group) or (not betas and "alpha" not in group)
        if shrinks and pull > 1 / HORIZON and "rho" not in group:
            yield Oddity(
                "weight decay shrinks the weights",
                f"weight decay {decay:g} at rate {rate:g} shrinks every weight by {pull:.2g} a "
                f"step: to a third within {1 / pull:.0f} steps",
            )
        if float(group.get("lr_decay", 0.0)) * steps > FADED:
            yield Oddity(
                "the rate decays at once",
                f"lr_decay {group['lr_decay']:g} divides the rate by "
                f"{1 + group['lr_decay'] * steps:.0f} within {steps} steps",
            )


def _is_decoupled(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> bool:
    return type(optimizer).__name__ in _DECOUPLED or bool(group.get("decoupled_weight_decay"))


Change = Callable[[dict[str, Any]], None]


def suspects(optimizer: torch.optim.Optimizer) -> Iterator[tuple[Oddity, Change]]:
    """Values far from the default, with what puts the default back into a group."""
    group = optimizer.param_groups[0]
    if float(group.get("weight_decay", 0.0)) >= 0.05:
        yield _suspect("weight decay shrinks the weights", group, "weight_decay", 0.0)
    if isinstance(group.get("eps"), float) and group["eps"] >= 1e-3:
        yield _suspect("eps drowns the gradients", group, "eps", 1e-8)
    if group.get("maximize"):
        yield _suspect("the optimizer climbs (maximize=True)", group, "maximize", False)
    if float(group.get("momentum", 0.0)) > 0.95:
        yield _suspect("the momentum is too high", group, "momentum", 0.9)
    if group.get("betas") and tuple(group["betas"]) != (0.9, 0.999):
        yield _suspect("the betas are unusual", group, "betas", (0.9, 0.999))
    if float(group.get("dampening", 0.0)) > 0.5:
        yield _suspect("the dampening shrinks every step", group, "dampening", 0.0)
    if float(group.get("lr_decay", 0.0)) > 0:
        yield _suspect("the rate decays at once", group, "lr_decay", 0.0)


def _suspect(title: str, group: dict[str, Any], key: str, usual: Any) -> tuple[Oddity, Change]:
    def change(other: dict[str, Any]) -> None:
        other[key] = usual

    return Oddity(title, f"{key} is {group[key]}; with {usual} the loss falls"), change
