"""The measurement of `rank-parameters`: every tensor of the model, hashed on each rank."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from recipe_check import Location, NotApplicable
from recipe_check.lineage import frozen_at

from ._rank_source import Site, sites
from ._rank_wiring import ALONE, wiring
from .rank_parameters import Difference, Starts

if TYPE_CHECKING:
    from recipe_check import Lab

SEEDS = ("manual_seed", "manual_seed_all", "seed_everything", "set_seed", "seed_all")


@dataclass(frozen=True)
class Held:
    """One tensor of a rank."""

    name: str
    is_buffer: bool
    trains: bool
    kind: str  # shape and dtype
    digest: str
    size: float  # mean absolute value


@dataclass(frozen=True)
class Holding:
    """All tensors of a rank's model."""

    tensors: tuple[Held, ...]


def see_starts(lab: Lab) -> Starts:
    """Raises NotApplicable where a library distributes the model."""
    wired = wiring(lab)
    if lab.ranks is None:
        raise NotApplicable(ALONE)
    model = lab.subject.original.model
    lab.ranks.at("hashing its parameters")
    found = lab.ranks.gather(Holding(tuple(_held(model))))
    seeds = [s for s in sites(lab) if s.name in SEEDS and "Generator" not in s.owner]
    differing, frozen = _compared(found)
    return Starts(
        ranks=len(found),
        tensors=len(found[0].tensors),
        differing=tuple(
            Difference(d.name, d.is_buffer, d.values, _made_at(lab, d.name)) for d in differing
        ),
        frozen=frozen,
        wiring=wired.kind,
        from_factory=lab.can_reinitialise,
        seed_line=_first([s for s in seeds if s.mentions("rank")]),
        seeds=bool(seeds),
        freeze_line=_frozen_at(lab, frozen),
        load_line=_first([s for s in sites(lab) if _loads_on_some(s)]),
    )


def _held(model: nn.Module) -> Iterator[Held]:
    """What the wrapper was told to leave alone is left out."""
    ignored = set(getattr(model, "_ddp_params_and_buffers_to_ignore", ()))
    named: list[tuple[str, torch.Tensor, bool]]
    named = [(n, p, False) for n, p in model.named_parameters()]
    named += [(n, b, True) for n, b in model.named_buffers()]
    for name, tensor, is_buffer in named:
        if name not in ignored:
            value = tensor.detach()
            kind = f"{tuple(value.shape)} {value.dtype}"
            yield Held(name, is_buffer, tensor.requires_grad, kind, _digest(value), _size(value))


def _digest(value: torch.Tensor) -> str:
    raw = value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(raw.tobytes(), digest_size=16).hexdigest()


def _size(value: torch.Tensor) -> float:
    sizes = value.abs() if value.is_complex() else value.double().abs()
    return float(sizes.mean()) if value.numel() else 0.0


def _compared(found: Sequence[Holding]) -> tuple[list[Difference], tuple[str, ...]]:
    """What differs, parameters first, and the parameters that only some ranks train."""
    known = [{held.name: held for held in holding.tensors} for holding in found]
    names = dict.fromkeys(name for holding in known for name in holding)
    differing, frozen = [], []
    for name in names:
        here = [holding.get(name) for holding in known]
        first = next(held for held in here if held is not None)
        kinds = {held.kind if held else "" for held in here}
        if len(kinds) > 1:
            sizes = tuple(h.size if h and h.kind == first.kind else None for h in here)
            differing.append(Difference(name, first.is_buffer, sizes))
        elif len({held.digest for held in here if held}) > 1:
            sizes = tuple(held.size if held else None for held in here)
            differing.append(Difference(name, first.is_buffer, sizes))
        if not first.is_buffer and len({held.trains for held in here if held}) > 1:
            frozen.append(name)
    return sorted(differing, key=lambda d: d.is_buffer), tuple(frozen)


def _made_at(lab: Lab, name: str) -> Location | None:
    return lab.subject.created.get(name.rpartition(".")[0])


def _frozen_at(lab: Lab, names: Sequence[str]) -> Location | None:
    """Where this rank switched a gradient off; else where the layer was made."""
    known = dict(lab.subject.original.model.named_parameters())
    lines = (frozen_at(known[name]) or _made_at(lab, name) for name in names if name in known)
    return next((line for line in lines if line is not None), None)


def _first(found: Sequence[Site]) -> Location | None:
    return found[0].location if found else None


def _loads_on_some(site: Site) -> bool:
    return site.name == "load_state_dict" and any("rank" in g.lower() for g in site.guards)
