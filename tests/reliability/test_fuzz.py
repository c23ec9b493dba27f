"""Whatever batches and architectures come: verdicts, or an error that is the user's; never a
traceback of ours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import recipe_check
from recipe_check import tree
from recipe_check.errors import LoadError, UsageError
from recipe_check.run_report import Report
from recipe_check.values import Status

EXAMPLES = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
OPTIONS = {"skip": ("input-independent-baseline", "capacity", "batch-size"), "budget": 20.0}
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32,
          torch.uint8, torch.bool, torch.complex64)  # fmt: skip


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Record:
    x: Any
    y: Any = None


def assert_sane(call: Callable[[], Report]) -> None:
    """Refused with a message, or a report in which only the user's code has raised."""
    try:
        report = call()
    except (LoadError, UsageError) as error:
        refused = error.message, error.trace
        assert refused[0]
        assert "recipe_check/" not in refused[1]
        return
    for result in report.results:
        if result.status is Status.ERROR:
            assert "your code raised" in result.verdict.message, result
            assert "checks/" not in result.traceback
    assert report.run.objects_unchanged, report.target.notes
    str(report)


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    dtype = draw(st.sampled_from(DTYPES))
    sizes = shape or tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    value = (torch.randn(sizes) * draw(st.sampled_from([0.0, 1.0, 3.0, 1e30]))).to(dtype)
    bad = draw(st.sampled_from([None, None, None, math.nan, math.inf]))
    if bad is not None and value.is_floating_point() and value.numel():
        value.view(-1)[0] = bad
    return value


LEAVES = (
    tensors()
    | st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=3)
    | st.builds(lambda rows: [torch.ones(n) for n in rows], st.lists(st.integers(0, 3), max_size=3))
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["x", "y", "labels", "mask", "id"]), inner, max_size=3)
        | st.builds(Pair, inner, inner)
        | st.builds(Record, inner, inner)
    ),
    max_leaves=6,
)


class Sums(nn.Module):
    """Takes anything: the sum of all that is a number, scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, *given: Any, **named: Any) -> torch.Tensor:
        found = tree.leaves([given, named])
        parts = [(leaf.abs() if leaf.is_complex() else leaf).float().sum() for leaf in found]
        return self.scale * torch.stack([*parts, torch.zeros(())]).sum()


def any_loss(output: torch.Tensor, _: Any = None) -> torch.Tensor:
    return (output**2).mean()


def own_step(model: nn.Module, batch: Any) -> torch.Tensor:
    return any_loss(model(batch))


@EXAMPLES
@given(batches=st.lists(TREES, min_size=1, max_size=3), step=st.booleans())
def test_batches_of_any_kind(batches: list[Any], step: bool) -> None:
    given_step = {"training_step": own_step} if step else {"loss_fn": any_loss}
    assert_sane(lambda: recipe_check.run(Sums(), batches, **given_step, **OPTIONS))


@EXAMPLES
@given(x=tensors(), y=tensors(), rows=st.integers(0, 5), data=st.data())
def test_pairs_of_tensors_in_a_network(x: Any, y: Any, rows: int, data: st.DataObject) -> None:
    """Rows that fit, with any values and dtypes, through torch's own losses."""
    pairs = [
        (data.draw(tensors((rows, 4))), data.draw(tensors((rows, 3)) | tensors((rows,))))
        for _ in range(3)
    ]
    loss = data.draw(st.sampled_from([nn.MSELoss(), nn.CrossEntropyLoss(), nn.L1Loss(), any_loss]))
    model = nn.Linear(4, 3)
    assert_sane(lambda: recipe_check.run(model, [*pairs, (x, y)], loss, **OPTIONS))


class Answers(nn.Module):
    """A linear layer, with its output in anything."""

    def __init__(self, wrap: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)
        self.wrap = wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.inner(x))


OUTPUTS: list[Callable[[torch.Tensor], Any]] = [
    lambda out: out,
    lambda out: None,
    lambda out: (out, None, "text"),
    lambda out: {"logits": out, "hidden": [out, 3]},
    lambda out: Record(out),
    lambda out: out.mean(),
    lambda out: out * math.nan,
    lambda out: torch.complex(out, out),
    lambda out: out.argmax(1),
    lambda out: out.detach().numpy(),
    lambda out: out[:0],
    lambda out: out.bool(),
    lambda out: 1.5,
]


def first(output: Any) -> torch.Tensor:
    found = tree.leaves(output)
    return found[0].abs().float() if found else torch.zeros(1)


LOSSES: list[Callable[[Any, torch.Tensor], Any]] = [
    lambda out, y: first(out).mean(),
    lambda out, y: first(out).mean().item(),
    lambda out, y: None,
    lambda out, y: first(out).sum() * math.inf,
    lambda out, y: first(out).mean().detach(),
    lambda out, y: first(out).mean().to(torch.complex64),
    lambda out, y: {"loss": first(out).mean()},
    lambda out, y: torch.tensor(1),
    lambda out, y: -first(out).sum().double(),
]


@EXAMPLES
@given(wrap=st.sampled_from(OUTPUTS), loss=st.sampled_from(LOSSES), step=st.booleans())
def test_outputs_and_losses_of_any_kind(wrap: Any, loss: Any, step: bool) -> None:
    def own(model: nn.Module, batch: Any) -> Any:
        return loss(model(batch[0]), batch[1])

    given_loss = {"training_step": own} if step else {"loss_fn": loss}
    batches = [(torch.randn(6, 4), torch.arange(6) % 3) for _ in range(3)]
    assert_sane(lambda: recipe_check.run(Answers(wrap), batches, **given_loss, **OPTIONS))


LAYERS: list[Callable[[int, int], nn.Module]] = [
    lambda a, b: nn.Linear(a, b),
    lambda a, b: nn.Linear(a, b, bias=False),
    lambda a, b: nn.Conv2d(a, b, 3, padding=1),
    lambda a, b: nn.Conv1d(a, b, 2),
    lambda a, b: nn.BatchNorm1d(b),
    lambda a, b: nn.BatchNorm2d(a),
    lambda a, b: nn.LayerNorm(b),
    lambda a, b: nn.GroupNorm(1, a),
    lambda a, b: nn.Embedding(8, b),
    lambda a, b: nn.GRU(a, b, batch_first=True),
    lambda a, b: nn.Dropout(0.5),
    lambda a, b: nn.ReLU(),
    lambda a, b: nn.ReLU(inplace=True),
    lambda a, b: nn.Softmax(0),
    lambda a, b: nn.Flatten(),
    lambda a, b: nn.MaxPool2d(2),
    lambda a, b: nn.AdaptiveAvgPool2d(1),
    lambda a, b: nn.LazyLinear(b),
    lambda a, b: nn.MultiheadAttention(a, 1, batch_first=True),
    lambda a, b: nn.TransformerEncoderLayer(b, 1, 4, batch_first=True),
    lambda a, b: nn.Identity(),
    lambda a, b: nn.utils.parametrizations.weight_norm(nn.Linear(a, b)),
    lambda a, b: nn.utils.parametrizations.spectral_norm(nn.Linear(a, b)),
    lambda a, b: nn.Threshold(1e9, 0.0),
]
INPUTS = {
    "rows": lambda: torch.randn(6, 4),
    "sequences": lambda: torch.randn(6, 3, 4),
    "pictures": lambda: torch.randn(6, 4, 4, 4),
    "tokens": lambda: torch.randint(0, 8, (6, 4)),
}


class Chain(nn.Module):
    """One layer after another; of layers that return more than one value the first."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x)
            x = x[0] if isinstance(x, tuple) else x
        return x


@EXAMPLES
@given(
    kinds=st.lists(st.sampled_from(LAYERS), min_size=1, max_size=6),
    widths=st.lists(st.sampled_from([4, 4, 4, 3]), min_size=7, max_size=7),
    inputs=st.sampled_from(sorted(INPUTS)),
    factory=st.booleans(),
    classes=st.booleans(),
)
def test_architectures_that_fit_or_not(
    kinds: list[Any], widths: list[int], inputs: str, factory: bool, classes: bool
) -> None:
    """Random layers one after another, with a head that makes classes or takes what comes."""
    torch.manual_seed(0)

    def make() -> nn.Module:
        sizes = zip(kinds, widths, widths[1:], strict=False)
        layers = [kind(a, b) for kind, a, b in sizes]
        return Chain([*layers, nn.Flatten(), nn.LazyLinear(3)] if classes else layers)

    batches = [(INPUTS[inputs](), torch.arange(6) % 3) for _ in range(3)]
    loss = nn.CrossEntropyLoss() if classes else any_loss
    model = make if factory else make()
    assert_sane(lambda: recipe_check.run(model, batches, loss, **OPTIONS))


@pytest.mark.parametrize("batches", [[], [None], [()], [{}], [[]], ["text"], [torch.empty(0)]])
def test_batches_of_nothing(batches: list[Any]) -> None:
    assert_sane(lambda: recipe_check.run(Sums(), batches, any_loss, **OPTIONS))
