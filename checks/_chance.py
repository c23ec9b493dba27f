"""The prediction of a model that knows nothing, and what it costs."""

from __future__ import annotations

import math

import torch

from recipe_check.probes.watch import LossTerm

MASKED = -1e8  # masks are written -inf, the least of a dtype, -1e9
CLASSIFYING = frozenset({
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "multi_margin_loss", "multilabel_soft_margin_loss", "multilabel_margin_loss",
    "soft_margin_loss",
})  # fmt: skip
_BINARY = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})
_ZERO = CLASSIFYING - {"nll_loss", "binary_cross_entropy"}
_MEAN = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss"})


def uninformative(term: LossTerm) -> torch.Tensor | None:
    """The prediction of a model that knows nothing: zero logits, equal probabilities, the mean
    of the targets. Classes that are masked out stay so. None where the loss has no such
    prediction."""
    shape = term.prediction
    if term.kind in _ZERO:
        return _hide(torch.zeros_like(shape), shape)
    if term.kind == "binary_cross_entropy":
        return torch.full_like(shape, 0.5)
    if term.kind in ("nll_loss", "ctc_loss"):
        axis = shape.ndim - 1 if term.kind == "ctc_loss" or shape.ndim == 1 else 1
        possible = (shape > MASKED).sum(axis, keepdim=True).clamp_min(1)
        return _hide(-possible.to(shape.dtype).log().expand_as(shape), shape)
    if term.kind == "kl_div":
        return torch.full_like(shape, -math.log(max(shape.shape[-1], 1)))
    if isinstance(term.target, torch.Tensor) and term.kind in _MEAN:
        return _mean_prediction(term.prediction, term.target)
    if isinstance(term.target, torch.Tensor) and term.kind == "poisson_nll_loss":
        mean = term.target.float().mean().clamp_min(1e-6)
        log_input = term.kwargs.get("log_input", term.args[0] if term.args else True)
        return torch.full_like(shape, float(mean.log() if log_input else mean))
    return None


def _hide(flat: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """The flat prediction without the classes that the model itself has masked out."""
    return flat.masked_fill(scores <= MASKED, torch.finfo(flat.dtype).min)


def _mean_prediction(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if target.shape == prediction.shape and target.ndim >= 1:
        return target.to(prediction.dtype).mean(0, keepdim=True).expand_as(prediction)
    return torch.full_like(prediction, float(target.double().mean()))


def best_constant(term: LossTerm) -> float:
    """The loss of the best constant prediction: for classes the prior, else as uninformative."""
    flat = uninformative(term)
    if flat is None:
        return math.nan
    if term.kind == "cross_entropy" and _holds_classes(term):
        flat = _class_prior(term)
    elif term.kind in _BINARY and isinstance(term.target, torch.Tensor):
        flat = _binary_prior(term, term.target)
    return min(float(term.replay(flat).double().mean()), flat_loss(term))


def _class_prior(term: LossTerm) -> torch.Tensor:
    """Logits of how often each class occurs among the targets."""
    axis = 1 if term.prediction.ndim > 1 else 0
    classes = term.prediction.shape[axis]
    valid = term.target[(term.target >= 0) & (term.target < classes)]
    counts = torch.bincount(valid.flatten(), minlength=classes).to(term.prediction.dtype)
    logits = (counts / counts.sum().clamp_min(1)).clamp_min(1e-6).log()
    shape = [1] * term.prediction.ndim
    shape[axis] = classes
    return logits.reshape(shape).expand_as(term.prediction)


def _binary_prior(term: LossTerm, target: torch.Tensor) -> torch.Tensor:
    """How often each label (axis 1, where there is one) is set, as the loss wants it."""
    others = [axis for axis in range(target.ndim) if axis != 1]
    share = target.to(term.prediction.dtype).mean(others, keepdim=True).clamp(1e-6, 1 - 1e-6)
    prior = share.logit() if term.kind.endswith("logits") else share
    return prior.expand_as(term.prediction)


def flat_loss(term: LossTerm) -> float:
    """The (mean) loss of the uninformative prediction; NaN where there is none."""
    found = uninformative(term)
    return math.nan if found is None else float(term.replay(found).double().mean())


def _holds_classes(term: LossTerm) -> bool:
    return isinstance(term.target, torch.Tensor) and not term.target.is_floating_point()
