"""Which statement to blame for what is wrong with inputs or targets, by the kind of mistake."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recipe_check import Location

from ._source_reader import Made
from ._sources import chains

if TYPE_CHECKING:
    from recipe_check import Lab

REORDERS = frozenset({
    "roll", "shuffle", "permutation", "permuted", "argsort", "sort", "sorted", "flip", "choice",
    "sample", "randint", "randperm", "integers", "reversed", "index", "take", "random", "shift",
    "sort_values", "dropna", "set", "randrange", "choices",
})  # fmt: skip
SHUFFLES = frozenset({"roll", "shuffle", "permutation", "permuted", "randperm", "shift"})
CASTS = frozenset({"int", "long", "astype", "floor", "round", "bool", "trunc", "to", "rint"})
VALUES = frozenset(
    {"arithmetic", "nan", "where", "log", "divide", "mul", "add", "clip", "floor_divide"}
)
ENTRIES = frozenset({"tensor", "from_numpy", "as_tensor", "Tensor", "FloatTensor", "LongTensor",
                     "float", "astype", "array", "asarray"})  # fmt: skip
DRAWS = frozenset({"normal", "random", "randn", "rand", "uniform", "integers", "randint", "choice",
                   "standard_normal", "lognormal", "gamma", "poisson", "exponential",
                   "multivariate_normal"})  # fmt: skip
GENERATORS = frozenset({"default_rng", "RandomState", "Random", "Generator", "manual_seed"})
JOINS = frozenset({"hstack", "column_stack", "concatenate", "cat", "concat", "stack", "insert",
                   "append", "join", "merge", "c_"})  # fmt: skip
VIEWED = frozenset({"reshape", "view", "resize", "unflatten"})
PARSED = frozenset({"split", "rsplit", "partition", "rpartition", "match", "search", "findall",
                    "group", "groups"})  # fmt: skip
BINS = frozenset({"digitize", "searchsorted", "bucketize", "cut", "qcut", "compare"})
CHOSEN = frozenset({"compare", "isin", "query", "where"})
NUMBERED = frozenset({"set", "fromkeys", "unique", "factorize", "fit_transform", "fit", "sorted",
                      "enumerate", "setdefault", "LabelEncoder", "Categorical"})  # fmt: skip
SPLITS = frozenset({"random_split", "train_test_split", "split", "Subset", "slice"})
SORTS = frozenset({"argsort", "sort", "sorted", "sort_values", "lexsort"})
COPIED = frozenset({"repeat", "tile", "resample", "choice", "fit_resample", "repeat_interleave"})


def first(steps: Iterable[Made], *wanted: frozenset[str]) -> Location | None:
    """The nearest step with an operation of the first set that any step has one of."""
    known = list(steps)
    for ops in wanted:
        found = next((m.location for m in known if m.ops & ops), None)
        if found is not None:
            return found
    return None


def nearest(lab: Lab, side: str, *wanted: frozenset[str]) -> Location | None:
    """The nearest step to `inputs` or `targets` with one of these operations; else the nearest
    that makes this side alone, else the nearest of all."""
    found = chains(lab)
    both: Sequence[Made] = getattr(found, side)
    own = found.only(side)
    return first(own, *wanted) or first(both, *wanted) or _first_of(own) or _first_of(both)


def own_line(lab: Lab, side: str, *wanted: frozenset[str]) -> Location | None:
    """As `nearest`, but a step that makes both sides is the last that is looked at."""
    own = chains(lab).only(side)
    return first(own, *wanted) or _first_of(own) or _first_of(getattr(chains(lab), side))


def _first_of(steps: Sequence[Made]) -> Location | None:
    return steps[0].location if steps else None


def scaled_line(lab: Lab, side: str, extremes: Sequence[float] = ()) -> Location | None:
    """Where values got their size: the constant that is one of the extremes, else the last
    arithmetic before the data set that does not draw them; where they became tensors if none."""
    found = chains(lab)
    own, both = found.only(side), getattr(found, side)
    for made in own:
        if any(_spelled(value) in made.location.source for value in extremes if abs(value) > 1):
            return made.location
    plain = itertools.takewhile(lambda m: not m.ops & DRAWS, own)
    return first(plain, VALUES) or first(both, ENTRIES) or _first_of(own) or _first_of(both)


def _spelled(value: float) -> str:
    return f"= {value:g}"


def order_line(lab: Lab) -> Location | None:
    """Where one side alone was put in another order: what treats both sides alike is no mistake."""
    targets, inputs = chains(lab).only("targets"), chains(lab).only("inputs")
    return (
        chains(lab).elsewhere
        or first(targets, SHUFFLES)
        or first(inputs, SHUFFLES)
        or first(targets, PARSED)
        or first(_unlike(targets, inputs), REORDERS)
        or first(_unlike(inputs, targets), REORDERS)
    )


def _unlike(steps: Sequence[Made], others: Sequence[Made]) -> list[Made]:
    """Without look-ups that the other side has alike: x[order], y[order]."""
    index = {"index"}
    same = [m.names for m in others if m.ops & REORDERS == index]
    return [m for m in steps if m.ops & REORDERS != index or not any(m.names & n for n in same)]


def cut_line(lab: Lab) -> Location | None:
    """Where one side alone was cut, else made: the targets before the inputs."""
    found = chains(lab)
    targets, inputs = found.only("targets"), found.only("inputs")
    cut = frozenset({"slice", "item"})
    sliced = first(targets, frozenset({"slice"})) or first(inputs, VIEWED)
    return (
        sliced
        or first(targets, cut)
        or first(inputs, cut)
        or _first_of(targets)
        or _first_of(inputs)
    )


def route_line(lab: Lab, *wanted: frozenset[str]) -> Location | None:
    """The nearest step to the data set with one of these operations."""
    return first(chains(lab).route, *wanted)


def validation_line(lab: Lab, side: str, *wanted: frozenset[str]) -> Location | None:
    """Where the validation data alone were made: a step that the training data have not."""
    training, found = chains(lab), chains(lab, validation=True)
    known = {(m.location.file, m.location.line) for m in (*training.inputs, *training.targets)}
    if wanted:
        return first(found.only(side), *wanted)
    steps = [*found.only(side), *getattr(found, side)]
    return _first_of([m for m in steps if (m.location.file, m.location.line) not in known])


def split_line(lab: Lab) -> Location | None:
    """Where the validation samples were chosen: a step to their data set that the training data
    have not, the farthest from the loader."""
    training, found = chains(lab), chains(lab, validation=True)
    known = {(m.location.file, m.location.line) for m in training.route}
    own = [m for m in found.route if (m.location.file, m.location.line) not in known]
    return own[-1].location if own else None


def same_line(lab: Lab) -> Location | None:
    """Where samples become alike: `__getitem__` that does not use its index, else the nearest step
    to the inputs alone."""
    found = chains(lab)
    own = found.inputs if found.index is False else found.only("inputs")
    return _first_of(own) or _first_of(found.inputs)


def not_finite(value: Any) -> bool:
    """Whether an array or tensor holds NaN or infinity."""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
    plain = isinstance(array, np.ndarray) and array.dtype.kind == "f"
    return plain and not bool(np.isfinite(array).all())


def constants_line(lab: Lab) -> Location | None:
    """Where what is called a deviation was set to a mean."""
    steps = (m for m in chains(lab).inputs if "std" in m.name or "sigma" in m.name)
    return next((m.location for m in steps if "mean" in m.ops), None)


def twice_line(lab: Lab) -> Location | None:
    """The nearer of two steps to the inputs that subtract and divide by the same constants."""
    found: dict[tuple[str, str], Made] = {}
    for made in chains(lab).inputs:
        for pair in made.scaled:
            earlier = found.setdefault(pair, made)
            if earlier.location.line != made.location.line:
                return earlier.location
    return None


def sampler_line(lab: Lab) -> Location | None:
    """What the loader's sampler was made of: its indices or weights."""
    steps = chains(lab).sampler
    trivial = ENTRIES | {"tolist", "len"}
    made = next((m.location for m in steps if m.ops - trivial), None)
    return made or _first_of(steps)


def value_line(lab: Lab, side: str, is_bad: Callable[[Any], bool]) -> Location | None:
    """The first statement whose result has a defect, told from the values that the names of the
    file have now; the nearest with arithmetic where none of them can be looked at."""
    names = _namespace(lab)
    steps: Sequence[Made] = getattr(chains(lab), side)
    bad = [m for m in steps if m.name in names and is_bad(names[m.name])]
    if not bad:
        return nearest(lab, side, VALUES)
    deepest = bad[-1].name
    return next(m.location for m in bad if m.name == deepest)


def _namespace(lab: Lab) -> dict[str, Any]:
    """The names of the target's module; of the data set's attributes as `self.x`."""
    file = lab.subject.file
    found: dict[str, Any] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if file is not None and isinstance(name, str) and Path(name) == file:
            found |= vars(module)
    dataset = getattr(lab.subject.loader, "dataset", None)
    return found | {f"self.{k}": v for k, v in getattr(dataset, "__dict__", {}).items()}
