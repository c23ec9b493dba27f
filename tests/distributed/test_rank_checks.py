"""The checks that compare ranks, on two real ranks: each bug, its healthy twin, and traps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recipe_check import Status
from recipe_check.checks.rank_gradients import Gradient, RankGradients, RankStep, Steps
from recipe_check.checks.rank_parameters import Difference, RankParameters, Starts
from recipe_check.checks.rank_sampling import RankSampling, Sampling, Share
from recipe_check.plugins import check_classes, select
from recipe_check.ranks import world
from tests.commands import command, fill
from tests.distributed.launching import torchrun
from tests.distributed.programs import PROGRAMS

CHECKS = ("rank-parameters", "rank-gradients", "rank-sampling")
SOUND = (
    "healthy", "seed_by_rank_wrapped", "wrapped_where_it_trains", "loaded_on_all_ranks",
    "unused_and_said", "searching_for_nothing", "step_of_the_wrapper", "evaluated_inside",
    "accumulating", "two_inputs", "no_loop", "shards_by_hand", "split_alike",
    "stream_shared_out", "uneven_and_joined", "padded",
)  # fmt: skip
BAD = {  # program and check: status, words of the message, words of the line (or of the cause)
    ("seed_by_rank", "parameters"): ("fail", "`0.weight` and 3 more differ", "manual_seed(seed)"),
    ("changed_after_wrapping", "parameters"): ("fail", "`2.weight` and 1 more", "net = nn."),
    ("loaded_on_one_rank", "parameters"): ("fail", "`0.weight` and 3", "load_state_dict(state)"),
    ("buffer_by_rank", "parameters"): ("warn", "buffer `mark` differs", "net = nn."),
    ("frozen_on_one_rank", "parameters"): ("fail", "`0.weight` is trained on some", "net = nn."),
    ("wider_on_one_rank", "parameters"): ("fail", "`0.weight` has another shape", "net = nn."),
    ("parts_alone", "parameters"): ("warn", "`0.weight` and 3 more differ", "net = nn."),
    ("not_wrapped", "gradients"): ("fail", "is not wrapped in Distributed", "loss.backward()"),
    ("nothing_joins", "gradients"): ("warn", "agree only because", "loss.backward()"),
    ("parts_alone", "gradients"): ("warn", "no training loop to read", ""),
    ("unused", "gradients"): ("fail", "`extra.weight` and 1 more get no gradient,", "DDP(net)"),
    ("unused_on_one_rank", "gradients"): ("fail", "no gradient on rank 0 and one on", "DDP(net)"),
    ("inside_the_wrapper", "gradients"): ("fail", "the training loop calls `module`", "module(a)"),
    ("step_inside_the_wrapper", "gradients"): ("fail", "the training step calls `module`", ""),
    ("never_synced", "gradients"): ("fail", "every backward pass", "loss.backward()"),
    ("loss_outside", "gradients"): ("fail", "`loss.scale` differs", "DDP(net)"),
    ("nothing_joins", "sampling"): ("fail", "same samples in the same order", "train_loader ="),
    ("always_rank_zero", "sampling"): ("fail", "same samples in the same order", "sampler=sampler"),
    ("stream", "sampling"): ("fail", "same samples in the same order", "Stream()"),
    ("own_orders", "sampling"): ("warn", "an order of its own", "shuffle=True"),
    ("split_by_rank", "sampling"): ("warn", "of 96 samples are in the share", "sampler=sampler"),
    ("epoch_never_set", "sampling"): ("fail", "never calls set_epoch", "sampler=sampler"),
    ("epoch_always_zero", "sampling"): ("fail", "always sets the same", "set_epoch(0)"),
    ("in_order", "sampling"): ("warn", "the same order in every epoch", "sampler=sampler"),
    ("four_replicas", "sampling"): ("fail", "for 4 ranks, and there are 2", "sampler=sampler"),
    ("uneven", "sampling"): ("fail", "8, 4 batches an epoch", ""),
}  # fmt: skip
SKIPPED = {
    ("of_a_library", "parameters"): "accelerate distributes",
    ("of_a_library", "gradients"): "accelerate distributes",
    ("of_a_library", "sampling"): "accelerate distributes",
    ("reduced_by_hand", "gradients"): "by hand",
    ("frozen_on_one_rank", "gradients"): "see rank-parameters",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """The verdicts on all programs, from one run of two ranks."""
    folder = tmp_path_factory.mktemp("programs")
    for name, text in PROGRAMS.items():
        (folder / name).mkdir()
        (folder / name / f"{name}.py").write_text(text)
    done = torchrun(folder, str(folder), module="tests.distributed.comparing")
    assert done.code == 0, done.err
    verdicts: Mapping[str, Any] = json.loads((folder / "found.json").read_text())
    return verdicts


@pytest.mark.parametrize("name", SOUND)
def test_sound_programs_pass(found: Mapping[str, Any], name: str) -> None:
    for id in CHECKS:
        verdict = found[f"{name}/{id}"]
        assert verdict["status"] == "pass", (id, verdict["message"])


@pytest.mark.parametrize(("name", "what"), BAD)
def test_mistakes_are_found_on_their_line(found: Mapping[str, Any], name: str, what: str) -> None:
    status, words, line = BAD[name, what]
    verdict = found[f"{name}/rank-{what}"]
    assert verdict["status"] == status, verdict["message"]
    assert words in verdict["message"]
    assert (verdict["location"] or {"source": ""})["source"].find(line) >= 0
    assert verdict["fix"]


@pytest.mark.parametrize(("name", "what"), SKIPPED)
def test_what_is_joined_elsewhere_is_skipped(
    found: Mapping[str, Any], name: str, what: str
) -> None:
    verdict = found[f"{name}/rank-{what}"]
    assert verdict["status"] == "skip"
    assert SKIPPED[name, what] in verdict["message"]


def test_nothing_else_fails(found: Mapping[str, Any]) -> None:
    expected = {f"{name}/rank-{what}" for name, what in BAD} | {
        f"{name}/rank-{what}" for name, what in SKIPPED
    }
    others = {key for key, v in found.items() if v["status"] != "pass"} - expected
    assert others == {
        "parts_alone/rank-sampling",  # as `own_orders`
        "seed_by_rank/rank-gradients",  # not wrapped either
        "wider_on_one_rank/rank-gradients",
    }


def test_the_causes_say_why_the_weights_differ(found: Mapping[str, Any]) -> None:
    def matching(name: str) -> list[str]:
        causes = found[f"{name}/rank-parameters"]["causes"]
        return [cause["title"] for cause in causes if cause["state"] == "matches"]

    assert matching("seed_by_rank") == ["the seed depends on the rank"]
    assert matching("changed_after_wrapping") == [
        "weights are changed after wrapping, which copied those of rank 0"
    ]
    assert "only some ranks load weights" in matching("loaded_on_one_rank")
    assert matching("parts_alone") == ["nothing seeds torch, and nothing copies the weights"]


def test_the_samples_of_one_step_are_those_of_all_ranks(found: Mapping[str, Any]) -> None:
    assert found["healthy/rank-sampling"]["values"]["batch"] == 32
    assert "16 + 16 = 32 samples a step" in found["healthy/rank-sampling"]["message"]
    assert found["healthy/rank-gradients"]["values"]["samples"] == 32


def test_one_process_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    kinds = check_classes()
    assert not set(CHECKS) & {*select(kinds), *select(kinds, ["data", "model", "training"])}
    assert set(CHECKS) < set(select(kinds, ranks=True))
    assert set(select(kinds, ["ranks"])) == set(CHECKS)
    done = command(fill(tmp_path), "train.py", "--only", "ranks", "--no-html")
    assert done.code == 5
    assert done.out.count("skipped") == 4
    assert world() is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, True),
        ({"RANK": "0", "WORLD_SIZE": "1"}, False),
        ({"RANK": "2", "WORLD_SIZE": "2"}, False),
        ({"RANK": "one", "WORLD_SIZE": "2"}, False),
        ({"WORLD_SIZE": "2"}, False),
    ],
)
def test_a_world_is_what_torchrun_says(
    variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    for name, value in (variables | {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    assert (world() is not None) is expected


def steps(one: tuple[float, float], other: tuple[float, float], wiring: str) -> Steps:
    local = tuple(RankStep(8, (Gradient("w", *values),)) for values in (one, other))
    return Steps(wiring, local, local if wiring == "wrapped" else (), unused_allowed=False)


@pytest.mark.parametrize(
    ("one", "other", "status"),
    [
        ((1.0, 0.5), (1.0, 0.5), Status.PASS),
        ((1.0, 0.5), (1.00005, 0.50005), Status.PASS),
        ((1.0, 0.5), (1.001, 0.5), Status.FAIL),
        ((1.0, 0.5), (1.0, -0.5), Status.FAIL),
        ((float("nan"), 0.0), (float("nan"), 0.0), Status.PASS),
        ((0.0, 0.0), (0.0, 0.0), Status.PASS),
    ],
)
def test_gradients_differ_beyond_the_tolerance(
    one: tuple[float, float], other: tuple[float, float], status: Status
) -> None:
    assert RankGradients().judge(steps(one, other, "wrapped")).status is status


def test_where_no_loop_is_to_be_read_nothing_is_certain() -> None:
    apart = steps((1.0, 0.5), (2.0, 0.5), "unknown")
    assert RankGradients().judge(apart).status is Status.WARN
    weights = (Difference("w", False, (1.0, 2.0)),)
    unseen = Starts(2, 1, weights, (), "unknown", from_factory=False)
    assert RankParameters().judge(unseen).status is Status.WARN
    made = Starts(2, 1, weights, (), "nothing", from_factory=True)
    assert RankParameters().judge(made).status is Status.WARN
    known = Starts(2, 1, weights, (), "nothing", from_factory=False)
    assert RankParameters().judge(known).status is Status.FAIL


@pytest.mark.parametrize(
    ("shared", "status"), [(0, "pass"), (1, "pass"), (2, "warn"), (89, "warn"), (100, "warn")]
)
def test_padding_is_no_sharing(shared: int, status: str) -> None:
    shares = (Share(100, 10, 10, "RandomSampler"),) * 2
    seen = Sampling(shares, shared, 100, False, "wrapped", "unknown")
    assert RankSampling().judge(seen).status == status
