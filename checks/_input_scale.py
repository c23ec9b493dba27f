"""The measurement of `input-scale`: the shared reading of the data and the shared trace."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from recipe_check import Location, NotApplicable
from recipe_check.errors import UserCodeError
from recipe_check.lineage import ARITHMETIC

from ._blame import input_line, maker
from ._data_lines import constants_line, scaled_line, twice_line, validation_line
from ._moments import Moments
from ._scan import scan
from .input_scale import Channel, Inputs

if TYPE_CHECKING:
    from recipe_check import Lab
    from recipe_check.probes.entry import Entry

SHOWN = 12
LARGEST_SHARE = 0.02  # of the variance, made by one value
OUTLIERS = 10.0
SWAPPED = 0.03  # relative: constants of the training part are a few percent off
LEAST_COLUMNS = 3
MANY_COLUMNS = 6
UNLIKE = 0.1  # from mean 0 or deviation 1: a second standardisation by the same constants
LEAST_ROWS = 32  # of validation data, before its moments say anything


def see_inputs(lab: Lab) -> Inputs:
    """Moments of both loaders, and what the first weights receive."""
    training = scan(lab).moments
    entry = entry_of(lab)
    if training.count is None or (training.whole and (entry is None or _embeds(lab))):
        raise NotApplicable("the inputs are no floats (tokens or graphs)")
    assert training.low is not None and training.high is not None
    mean, std = training.overall
    backwards = _backwards(lab, training)
    exchanged = are_swapped(training)
    return Inputs(
        mean=entry.mean if entry else mean,
        std=entry.std if entry else std,
        raw_mean=mean,
        raw_std=std,
        low=float(training.low.min()),
        high=float(training.high.max()),
        images=training.ndim >= 4,
        channels=_channels(training),
        spread=min(_spread(training), _spread(_received(entry)) if entry else math.inf),
        validation=_validation(lab, training),
        location=_exchanged_line(lab, exchanged, backwards) or _line(lab, training, entry),
        reversed=backwards,
        swapped=exchanged,
        twice=twice_line(lab) if abs(mean) > UNLIKE or abs(std - 1) > UNLIKE else None,
    )


def _spread(seen: Moments) -> float:
    """Largest against smallest deviation of a channel or feature that varies."""
    deviations = seen.std[seen.std > 0]
    return float(deviations.max() / deviations.min()) if len(deviations) else 1.0


def _received(entry: Entry) -> Moments:
    """Of what reaches the first weights: the model may standardise each feature itself."""
    seen = Moments()
    seen.add(entry.value)
    return seen


def entry_of(lab: Lab) -> Entry | None:
    """What reaches the first weights; None for tokens, and where the model does not run."""
    try:
        return lab.trace.entry
    except UserCodeError:
        return None


def _embeds(lab: Lab) -> bool:
    """Whether integers are looked up: what the first weights receive is learned, not loaded."""
    return any(layer.kind in ("Embedding", "EmbeddingBag") for layer in lab.trace.layers)


def _line(lab: Lab, training: Moments, entry: Entry | None) -> Location | None:
    """Differently scaled validation data is their loader's fault, else the last operation on the
    inputs, else where they reach the first weights."""
    if _far_apart(_validation(lab, training), training.overall):
        return validation_line(lab, "inputs") or maker(lab, "val_data")
    assert training.low is not None and training.high is not None
    extremes = (float(training.low.min()), float(training.high.max()))
    found = input_line(lab, ARITHMETIC) or scaled_line(lab, "inputs", extremes)
    return found or (entry.location if entry else None)


def _exchanged_line(lab: Lab, exchanged: bool, backwards: float) -> Location | None:
    """Where constants got each other's names, or the validation channels their order."""
    if backwards:
        return validation_line(lab, "inputs")
    return constants_line(lab) if exchanged else None


def _backwards(lab: Lab, training: Moments) -> float:
    """Distance of the channels' means in deviations, where the reverse order fits; else 0."""
    if lab.subject.val_loader is None or training.ndim != 4 or not 3 <= len(training.mean) <= 4:
        return 0.0
    other = scan(lab, validation=True)
    if len(other.moments.mean) != len(training.mean) or other.rows < LEAST_ROWS:
        return 0.0
    mine, theirs = training.mean[:3], other.moments.mean[:3]
    std = float(training.std[:3].mean()) or 1.0
    off, back = float((mine - theirs).abs().max()), float((mine - theirs.flip(0)).abs().max())
    return off / std if back <= off / 4 else 0.0


def are_swapped(seen: Moments) -> bool:
    """Whether |mean - 1| is the deviation of every column: (x - s) / m has mean 1 - s/m and
    deviation s/m. Columns that do not vary, or have deviation 1 as standardised ones, say
    nothing."""
    std, distance = seen.std, (seen.mean - 1).abs()
    varies = std > 1e-3
    telling = varies & ((std - 1).abs() > 0.1)
    rows = float(seen.count.max()) if seen.count is not None else 0.0
    many = int(telling.sum()) >= MANY_COLUMNS  # constants of all rows, moments of a part of them
    near = max(SWAPPED, 2 / max(rows, 1.0) ** 0.5) if many else SWAPPED
    fits = (distance - std).abs() <= near * torch.maximum(std, distance)
    return int(telling.sum()) >= LEAST_COLUMNS and bool(fits[varies].all())


def _far_apart(validation: tuple[float, float] | None, training: tuple[float, float]) -> bool:
    if validation is None:
        return False
    ratio = max(validation[1], 1e-12) / max(training[1], 1e-12)
    return not 0.5 <= ratio <= 2 or abs(validation[0] - training[0]) > training[1]


def _validation(lab: Lab, training: Moments) -> tuple[float, float] | None:
    if lab.subject.val_loader is None:
        return None
    found = scan(lab, validation=True)
    same = found.moments.count is not None and len(found.moments.mean) == len(training.mean)
    if not same or found.rows < LEAST_ROWS or _by_outliers(training, found.moments):
        return None
    return found.moments.overall


def _by_outliers(one: Moments, other: Moments) -> bool:
    """Whether a single value makes much of the deviation of either (incomes, amounts): then a
    factor of ten between two samples of the same data is no surprise."""
    small, large = sorted((one.overall[1], other.overall[1]))
    return large <= OUTLIERS * small and (has_outlier(one) or has_outlier(other))


def has_outlier(seen: Moments) -> bool:
    """Whether one value makes four times the share of the variance that the farthest one of as
    many normal numbers makes, 2 ln(n) / n."""
    assert seen.low is not None and seen.high is not None and seen.count is not None
    mean, std = seen.overall
    farthest = max(float(seen.high.max()) - mean, mean - float(seen.low.min()))
    n = max(float(seen.count.sum()), 2.0)
    return farthest**2 / max(n * std * std, 1e-300) > max(LARGEST_SHARE, 8 * math.log(n) / n)


def _channels(seen: Moments) -> tuple[Channel, ...]:
    assert seen.low is not None and seen.high is not None
    order = torch.argsort(seen.std, descending=True)[:SHOWN].tolist()
    kind = "channel" if seen.ndim >= 4 else "feature"
    return tuple(
        Channel(
            f"{kind} {i}", float(seen.mean[i]), float(seen.std[i]), float(seen.low[i]),
            float(seen.high[i]),
        )
        for i in order
    )  # fmt: skip
