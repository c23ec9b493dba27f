"""Chance: what three seeds, or `--repeat`, make of verdicts that do not agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from torch import nn

from recipe_check import Meta, Status, Verdict
from recipe_check.seeds import judge_over_seeds, majority, unanimous
from tests.nets import MLP, class_batches, made

F, W, P = Status.FAIL, Status.WARN, Status.PASS


def verdicts(*statuses: Status) -> list[Verdict]:
    return [Verdict(status=s, message=f"run {i}", measured=f"{i}") for i, s in enumerate(statuses)]


@pytest.mark.parametrize(
    ("statuses", "decided"),
    [((F, F, P), F), ((F, P, P), P), ((W, P, W), W), ((F, W, P), W), ((P, P, P), P)],
)
def test_most_of_three_seeds_decide(statuses, decided) -> None:
    verdict = majority(verdicts(*statuses), seed=7)
    assert verdict.status is decided
    assert verdict.details[-1].rows[2] == (9, statuses[2].value, "2")
    assert f"3 seeds: {', '.join(s.value for s in statuses)}" in verdict.message


@pytest.mark.parametrize(
    ("statuses", "decided"), [((F, F), F), ((F, P), W), ((F, W), W), ((P, P), P), ((W, P), W)]
)
def test_repeated_checks_fail_only_when_all_agree(statuses, decided) -> None:
    assert unanimous(verdicts(*statuses)).status is decided


@dataclass(frozen=True, kw_only=True)
class SeedOfTheLab:
    """Fails for even seeds, and is borderline at zero."""

    meta: ClassVar[Meta] = Meta(
        id="seed", stage="training", title="odd", fail_title="even", cost="0", seeded=True
    )

    def measure(self, lab) -> int:
        return lab.seed

    def borderline(self, seen: int) -> bool:
        return seen == 0

    def judge(self, seen: int) -> Verdict:
        return Verdict(status=P if seen % 2 else F, message=f"{seen}", measured=f"{seen}")


def test_a_borderline_verdict_is_taken_again_with_two_more_seeds(lab_for) -> None:
    lab = lab_for(made(MLP), class_batches(), nn.CrossEntropyLoss())
    verdict = judge_over_seeds(SeedOfTheLab(), lab)
    assert verdict.status is F
    assert [row[0] for row in verdict.details[-1].rows] == [0, 1, 2]
    lab.seed = 2
    assert judge_over_seeds(SeedOfTheLab(), lab).details == ()
    assert judge_over_seeds(SeedOfTheLab(), lab, repeat=2).status is W


def test_a_sibling_starts_from_other_weights_where_it_can(lab_for) -> None:
    def weight(lab) -> float:
        return float(lab.rig().model.body.weight.detach().sum())

    fixed = lab_for(made(MLP), class_batches())
    assert weight(fixed.sibling(1)) == weight(fixed)
    factory = lab_for(made(MLP), class_batches(), build_model=MLP)
    assert weight(factory.sibling(1)) != weight(factory.sibling(2))
    assert weight(factory) == weight(fixed)
