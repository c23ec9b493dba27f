"""Rules on what a torch loss documents of its targets and of its second use of exp or log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from recipe_check.probes.watch import LossTerm

from ._data_lines import ENTRIES, own_line
from ._from_data import is_from_data
from ._loss_input import Origin
from ._recorded_ops import Recording, record
from .loss_contract import Breach

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.values import Location

LEAST = 8  # labels, before their kind is told from their values
SLACK = 1e-4  # of a probability: rounding
SIGNED = frozenset({"soft_margin_loss", "hinge_embedding_loss", "cosine_embedding_loss",
                    "margin_ranking_loss"})  # fmt: skip
_PLAIN = ("View", "UnsafeView", "LogSoftmax", "Alias", "Add")
_POSITIVE = ("exp", "softplus", "relu", "square", "abs")


def signed_labels(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Margin losses of torch want -1 and 1."""
    if term.kind not in SIGNED or not isinstance(term.target, torch.Tensor):
        return None
    return _signs(lab, term.kind, term.target)


def signed_calls(lab: Lab, taken: Recording) -> Breach | None:
    """Likewise for losses of two or three outputs, whose labels are their last tensor."""
    for op in taken.ops:
        if op.name in SIGNED and len(op.inputs) == 3:
            return _signs(lab, op.name, op.inputs[2])
    return None


def _signs(lab: Lab, kind: str, target: torch.Tensor) -> Breach | None:
    found = set(torch.unique(target.detach()).tolist())
    if found != {0.0, 1.0} or target.numel() < LEAST:
        return None
    return Breach(
        "labels of 0 and 1 where -1 and 1 are expected",
        f"{kind} wants -1 for what does not match; with 0 those samples do not count as such",
        "give labels of -1 and 1: 2 * y - 1",
        own_line(lab, "targets", ENTRIES),
        certain=True,
    )


def logarithms(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """kl_div wants probabilities as target, and their logarithms with log_target=True."""
    target = term.target
    if term.kind != "kl_div" or not isinstance(target, torch.Tensor):
        return None
    as_logs = bool(term.kwargs.get("log_target", False))
    low, high = float(target.detach().min()), float(target.detach().max())
    if not as_logs and low < -SLACK:
        return Breach(
            "log-probabilities as the target of kl_div",
            f"the target goes down to {low:.3g}, and log_target is False: terms with a negative "
            "target are left out",
            "give the target as probabilities (softmax), or set log_target=True",
            _target_made(lab, term) or term.location,
            certain=True,
        )
    if as_logs and low >= 0 and high > SLACK:
        return Breach(
            "probabilities as the target of kl_div with log_target=True",
            f"the target runs from {low:.3g} to {high:.3g}; log-probabilities are at most 0",
            "give the target as log-probabilities, or leave out log_target=True",
            _target_made(lab, term) or term.location,
            certain=True,
        )
    return None


def _target_made(lab: Lab, term: LossTerm) -> Location | None:
    """The operation that gave the target, where the step makes it. One forward pass."""
    taken = record(lab)
    same = [t for t in taken.terms if t.kind == term.kind and isinstance(t.target, torch.Tensor)]
    return _constant(taken, same[0].target) if same else None


def rates(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """poisson_nll_loss takes the exponential itself unless log_input=False."""
    if term.kind != "poisson_nll_loss":
        return None
    as_logs = bool(term.kwargs.get("log_input", term.args[0] if term.args else True))
    made = origin.made
    if as_logs and made.op in _POSITIVE:
        return Breach(
            "the exponential is taken twice",
            f"{made.op} stands right before poisson_nll_loss, which takes exp of its input "
            "(log_input=True)",
            f"leave out the {made.op}, or set log_input=False",
            made.location or term.location,
            certain=made.op == "exp",
        )
    low = float(term.prediction.detach().min())
    if not as_logs and low < -SLACK:
        return Breach(
            "raw scores where rates are expected",
            f"poisson_nll_loss with log_input=False got values down to {low:.3g}: rates are at "
            "least 0",
            "set log_input=True, or apply exp or softplus before the loss",
            term.location,
            certain=True,
        )
    return None


def shares(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """Binary cross-entropy on scores takes any target, and means 0 to 1."""
    target = term.target
    if term.kind != "binary_cross_entropy_with_logits" or not isinstance(target, torch.Tensor):
        return None
    low, high = float(target.detach().min()), float(target.detach().max())
    if (low >= -SLACK and high <= 1 + SLACK) or not is_from_data(term, lab.train_batches[0]):
        return None
    return Breach(
        "targets outside 0 to 1 in a binary cross-entropy",
        f"binary_cross_entropy_with_logits got targets from {low:.3g} to {high:.3g}: beyond 0 and "
        "1 it has no lowest value",
        "give targets between 0 and 1: labels of -1 and 1 as (y + 1) / 2, bytes divided by 255",
        own_line(lab, "targets", ENTRIES) or term.location,
        certain=True,
    )


def alignments(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """ctc_loss wants log-probabilities over its last axis, and targets without the blank."""
    target = term.target
    if term.kind != "ctc_loss" or not isinstance(target, torch.Tensor):
        return None
    total = term.prediction.detach().double().logsumexp(-1)
    if float(total.abs().max()) > 1e-2:
        return Breach(
            "raw scores or probabilities where log-probabilities are expected",
            f"the exponentials of what ctc_loss got sum to {float(total.exp().mean()):.3g} over "
            "the classes (last axis), not to 1",
            "apply log_softmax(-1) before ctc_loss",
            origin.made.location or term.location,
            certain=True,
        )
    return _blank(lab, term, target)


def _blank(lab: Lab, term: LossTerm, target: torch.Tensor) -> Breach | None:
    given = dict(zip(("input_lengths", "target_lengths", "blank"), term.args, strict=False))
    named = {**given, **term.kwargs}
    lengths = torch.as_tensor(named.get("target_lengths", ())).flatten().cpu()
    blank = int(named.get("blank", 0))
    labels = target.detach().cpu()
    if labels.ndim == 2 and len(lengths) == len(labels):
        labels = labels[torch.arange(labels.shape[1])[None] < lengths[:, None]]
    share = float((labels == blank).double().mean()) if labels.numel() else 0.0
    if not share:
        return None
    return Breach(
        "the blank of ctc_loss stands in the targets",
        f"{share:.0%} of the labels are {blank}, which is the blank: it is never read as a letter "
        "(or padding counts as part of the targets)",
        "number the letters from 1 and leave 0 to the blank; give the true target lengths",
        own_line(lab, "targets", ENTRIES) or term.location,
        certain=True,
    )


def last_axis(lab: Lab, term: LossTerm, origin: Origin) -> Breach | None:
    """(B, N, N) right from a linear layer: its classes lie on the last axis, and cross_entropy
    reads them on axis 1."""
    shape = tuple(term.prediction.shape)
    if term.kind not in ("cross_entropy", "nll_loss") or len(shape) != 3 or shape[1] != shape[2]:
        return None
    node = term.prediction.grad_fn
    while node is not None and str(node.name()).split("Backward")[0] in _PLAIN:
        node = node.next_functions[0][0] if node.next_functions else None
    if node is None or not _is_linear(node):
        return None
    return Breach(
        "the class axis is not where the loss reads it",
        f"{term.kind} reads the classes of {shape} on axis 1, and the last layer puts them on the "
        "last axis",
        "transpose(1, 2) before the loss, or flatten both: (B * T, C) and (B * T,)",
        origin.made.location or term.location,
        certain=True,
    )


def _is_linear(node: Any) -> bool:
    """Whether a graph node multiplies with a weight: `x @ weight.T`, with or without a bias."""
    if str(node.name()).split("Backward")[0] not in ("Addmm", "Mm"):
        return False
    last = node.next_functions[-1][0]
    before = last.next_functions[0][0] if last is not None and last.next_functions else None
    return before is not None and "AccumulateGrad" in str(before.name())


def one_positive(lab: Lab, taken: Recording) -> Breach | None:
    """A square table of similarities whose rows all name the same column as their match."""
    for term in taken.terms:
        target, shape = term.target, tuple(term.prediction.shape)
        whole = isinstance(target, torch.Tensor) and not target.is_floating_point()
        if term.kind != "cross_entropy" or not whole or len(shape) != 2 or shape[0] != shape[1]:
            continue
        if len(target) < LEAST or len(torch.unique(target)) > 1 or _is_data(taken, target):
            continue
        if not _is_product(taken, term.prediction):
            continue
        return Breach(
            "every row of the similarities has the same match",
            f"cross_entropy on similarities {shape}: the label of all {len(target)} rows is "
            f"{int(target[0])}",
            "the match of row i is column i: labels = torch.arange(len(logits))",
            _constant(taken, target) or term.location,
            certain=False,
        )
    return None


def _is_data(taken: Recording, target: torch.Tensor) -> bool:
    return any(t.data_ptr() == target.data_ptr() for t in taken.targets)


def _is_product(taken: Recording, scores: torch.Tensor) -> bool:
    """Whether both axes of the scores are samples: a product of outputs, scaled at most."""
    op = taken.maker(scores)
    while op is not None and op.name in ("/", "*", "+", "-", "exp") and op.attached:
        op = taken.maker(op.attached[0])
    return op is not None and op.name in ("@", "mm", "matmul", "einsum", "cosine_similarity")


def _constant(taken: Recording, target: torch.Tensor) -> Location | None:
    op = taken.maker(target)
    return op.location if op is not None else None
