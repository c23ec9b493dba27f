"""What the report says about the target itself: what was loaded, its layers, its data."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from recipe_check import tree
from recipe_check.details import Detail, Histogram, Images, Table
from recipe_check.lab import Lab
from recipe_check.marks import suppressions_of
from recipe_check.results import Suppression
from recipe_check.run_report import DeclaredSuppression, Layer, Target
from recipe_check.subject import Subject
from recipe_check.userframes import relative

SHOWN_SAMPLES = 16
SHOWN_PIXELS = 32
BINS = 40


def describe(subject: Subject) -> Target:
    """The loaded target: its file and hash, the model, and how each part was found."""
    file = subject.file
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else ""
    parameters = [p for p in subject.original.model.parameters() if not is_lazy(p)]
    return Target(
        name=file.name if file else subject.name,
        file=relative(str(file)) if file else "",
        model=subject.name,
        parameters=sum(p.numel() for p in parameters),
        sha256=digest,
        found=subject.found,
        notes=subject.notes,
        suppressions=tuple(
            DeclaredSuppression(check=check, suppression=Suppression(reason=why, expires=until))
            for check, why, until in suppressions_of(type(subject.original.model))
        ),
    )


def layers(lab: Lab) -> tuple[Layer, ...]:
    """Leaf modules in the order of their first call, from the shared trace."""
    trace = lab.trace
    modules = dict(lab.rig().model.named_modules())
    found = []
    for seen in trace.layers:
        own = list(modules[seen.name].parameters(recurse=False)) if seen.name in modules else []
        norms = [g.norms[0] for g in trace.gradients if g.name.rpartition(".")[0] == seen.name]
        known = [n for n in norms if n is not None]
        found.append(
            Layer(
                name=seen.name,
                kind=seen.kind,
                output_shape=seen.shape,
                parameters=sum(p.numel() for p in own),
                trainable=sum(p.numel() for p in own if p.requires_grad),
                activation_mean=seen.mean,
                activation_std=seen.std,
                gradient_norm=sum(n * n for n in known) ** 0.5 if known else None,
            )
        )
    return tuple(found)


def inputs(lab: Lab) -> tuple[Detail, ...]:
    """The first batch exactly as it enters the network: a table of its tensors, pictures of
    image inputs, windows of token inputs, a histogram of float inputs."""
    batch = lab.train_batches[0]
    parts = lab.rig().split(batch)
    found: list[Detail] = [_tensor_table(batch)]
    first = next(iter(tree.leaves(parts.inputs)), None)
    if first is None or not first.numel():
        return tuple(found)
    labels = _labels(parts.target, len(first) if first.ndim else 0)
    if _is_image(first):
        found.append(_images(first, labels))
    if first.is_floating_point():
        found.append(_histogram(first))
    elif first.ndim == 2:
        found.append(_tokens(first, labels))
    return tuple(found)


def _tensor_table(batch: Any) -> Table:
    rows = [_row(number, leaf) for number, leaf in enumerate(tree.leaves(batch))]
    return Table(
        title="Tensors of the first batch",
        columns=("tensor", "shape", "dtype", "minimum", "mean", "maximum", "std"),
        rows=tuple(rows),
    )


def _row(number: int, leaf: torch.Tensor) -> tuple[str | float | int | None, ...]:
    values = leaf.detach().abs() if leaf.is_complex() else leaf.detach()
    values = values.to_dense() if values.layout is not torch.strided else values
    shape = " x ".join(map(str, leaf.shape)) or "scalar"
    kind = str(leaf.dtype).removeprefix("torch.")
    if not values.numel():
        return (number, shape, kind, None, None, None, None)
    values = values.double()
    spread = float(values.std(correction=0))
    return (number, shape, kind, float(values.min()), float(values.mean()), float(values.max()),
            spread)  # fmt: skip


def _is_image(value: torch.Tensor) -> bool:
    return value.ndim == 4 and value.shape[1] in (1, 3) and min(value.shape[2:]) >= 4


def _labels(target: Any, count: int) -> tuple[str, ...]:
    """The first targets as short texts, blank where they are no single numbers."""
    first = next(iter(tree.leaves(target)), None)
    if first is None or first.ndim == 0 or first.shape[0] != count:
        return ("",) * min(count, SHOWN_SAMPLES)
    rows = first.detach()[:SHOWN_SAMPLES]
    return tuple(f"{row.item():g}" if row.numel() == 1 else "" for row in rows)


def _images(value: torch.Tensor, labels: tuple[str, ...]) -> Images:
    pictures = value.detach()[:SHOWN_SAMPLES].float()
    step = max(1, -(-max(pictures.shape[2:]) // SHOWN_PIXELS))
    pictures = pictures[:, :, ::step, ::step].nan_to_num()
    low, high = float(pictures.min()), float(pictures.max())
    scaled = ((pictures - low) / max(high - low, 1e-12)).mul(255).round().div(255)
    pixels = scaled[:, 0] if scaled.shape[1] == 1 else scaled.permute(0, 2, 3, 1)
    return Images(
        title="Inputs as they enter the network",
        labels=labels[: len(pixels)],
        pixels=tree.nested(pixels),
        caption=f"values from {low:.3g} (black) to {high:.3g} (white); the label stands below",
    )


def _histogram(value: torch.Tensor) -> Histogram:
    values = value.detach().flatten()[:100_000].double()
    values = values[values.isfinite()]
    low, high = (float(values.min()), float(values.max())) if values.numel() else (0.0, 1.0)
    high = high if high > low else low + 1.0
    counts = torch.histc(values, bins=BINS, min=low, max=high)
    edges = [low + (high - low) * i / BINS for i in range(BINS + 1)]
    return Histogram(
        title="Input values of the first batch",
        x_label="value",
        edges=tuple(edges),
        counts=tuple(counts.tolist()),
    )


def _tokens(value: torch.Tensor, labels: tuple[str, ...]) -> Table:
    shown = value.detach()[:8, :16]
    rows = tuple(
        (number, " ".join(str(token) for token in row.tolist()), labels[number] or None)
        for number, row in enumerate(shown)
    )
    return Table(
        title="Inputs as they enter the network", columns=("sample", "values", "label"), rows=rows
    )
