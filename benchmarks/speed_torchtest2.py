"""Against torchtest2, in process, on the checks that both have and both ran."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torchtest2

import recipe_check
from benchmarks.speed_models import ON_A_CPU, Setup, make
from benchmarks.speed_timing import alternate, cpu_time, ratio, rounded, shown, table

PAIRS = {
    "initial-loss": ("initial_loss",),
    "optimizer-coverage": ("optimizer_coverage",),
    "gradient-norms": ("gradient_flow", "gradient_magnitude"),
    "batch-dependency": ("batch_independence",),
    "overfit-one-batch": ("overfit_batch",),
    "gradient-check": ("gradcheck",),
}
NEEDED = {"forward", "loss"}  # theirs run these first in any case
MOST_PASSES = 4000  # of torchtest2's gradcheck: two for each number of two samples
Seconds = dict[str, tuple[float, str]]  # by our id: seconds and status


@dataclass(frozen=True)
class Row:
    """One model: the whole calls, and each check by what the tools themselves say."""

    name: str
    parameters: int
    ours: float
    theirs: float
    checks: dict[str, tuple[float, float]]
    verdicts: list[str]


def ours(setup: Setup, ids: Sequence[str]) -> Seconds:
    report = recipe_check.run(
        setup.model, setup.batches, setup.loss, setup.optimizer, only=ids, budget=600
    )
    return {r.id: (r.cost.seconds, r.status.value) for r in report.results}


def theirs(setup: Setup, ids: Sequence[str]) -> Seconds:
    wanted = {name for id in ids for name in PAIRS[id]}
    x, y = setup.batches[0]
    report = torchtest2.check_model(
        setup.model, x, y, loss_fn=setup.loss, optimizer=setup.optimizer,
        gradcheck="gradcheck" in wanted, skip=set(torchtest2.CHECKS) - wanted - NEEDED,
    )  # fmt: skip
    by_name = {r.name: r for r in report.results}
    found = {}
    for id in ids:
        results = [by_name[name] for name in PAIRS[id]]
        found[id] = sum(r.seconds for r in results), max(r.status.value for r in results).lower()
    return found


def compare(name: str, repeats: int) -> Row:
    """Once each to see what applies, then in turn on what both ran."""
    setup = make(name)
    ids = [id for id in PAIRS if id != "gradient-check" or _passes(setup) <= MOST_PASSES]
    first = ours(setup, ids), theirs(setup, ids)
    both = [id for id in ids if "skip" not in (first[0][id][1], first[1][id][1])]
    kept: dict[str, list[Seconds]] = {"ours": [], "theirs": []}
    acts = {
        "ours": lambda: kept["ours"].append(ours(setup, both)),
        "theirs": lambda: kept["theirs"].append(theirs(setup, both)),
    }
    with cpu_time():
        whole = alternate(acts, repeats)
    checks = {id: (_median(kept["ours"], id), _median(kept["theirs"], id)) for id in both}
    differ = [
        f"{id} on {name}: {first[0][id][1]} here, {first[1][id][1]} there"
        for id in both
        if first[0][id][1] != first[1][id][1]
    ]
    return Row(name, setup.parameters, whole["ours"], whole["theirs"], checks, differ)


def _passes(setup: Setup) -> float:
    inputs = setup.batches[0][0]
    return 2 * inputs[:2].numel() if inputs.is_floating_point() else float("inf")


def _median(runs: Sequence[Seconds], id: str) -> float:
    return statistics.median(run[id][0] for run in runs)


def models(rows: Sequence[Row]) -> str:
    columns = ("model", "parameters", "checks", "recipe-check", "torchtest2", "ratio")
    return table(columns, [
        (r.name, f"{r.parameters:,}", len(r.checks), shown(r.ours), shown(r.theirs),
         ratio(r.theirs, r.ours))
        for r in rows
    ])  # fmt: skip


def by_check(rows: Sequence[Row]) -> str:
    """The median over the models of each tool's time and of their ratio."""
    lines = []
    for id, names in PAIRS.items():
        pairs = [r.checks[id] for r in rows if id in r.checks]
        if pairs:
            ratios = [b / max(a, 1e-4) for a, b in pairs]  # what we say has four decimals
            a, b = (statistics.median(p[i] for p in pairs) for i in (0, 1))
            spread = f"{rounded(min(ratios))} to {rounded(max(ratios))}"
            lines.append((id, " + ".join(names), len(pairs), shown(a), shown(b),
                          f"{rounded(statistics.median(ratios))} x", spread))  # fmt: skip
    columns = ("check", "torchtest2", "models", "recipe-check", "torchtest2", "ratio", "range")
    return table(columns, lines)


def section(names: Sequence[str] = ON_A_CPU, repeats: int = 3) -> str:
    rows = []
    for name in names:
        rows.append(compare(name, repeats))
        print(name, file=sys.stderr)
    differ = [text for row in rows for text in row.verdicts]
    return "\n".join([
        f"## Against torchtest2 {torchtest2.__version__}\n",
        "In process, whole calls with only the checks that both tools have and neither skipped. "
        "`recipe_check.run` also takes a\nsnapshot of every object before and after. A ratio above "
        "one: recipe-check is faster. torchtest2's gradcheck\nperturbs every input of two samples; "
        f"it is left out above {MOST_PASSES} passes.\n",
        models(rows),
        "The median of these ratios is "
        f"{ratio(statistics.median(r.theirs / r.ours for r in rows), 1)}.\n",
        "By check, as each tool times itself (what is shared counts for the check that came "
        "first):\n",
        by_check(rows),
        f"Other verdicts: {'; '.join(differ) or 'none'}.",
    ])  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=ON_A_CPU)
    print(section(parser.parse_args().names))
