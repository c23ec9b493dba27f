"""Run by torchrun: loads program after program on all ranks, and prints what rank 0 concludes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recipe_check.lab import Lab
from recipe_check.loading import load
from recipe_check.plugins import build, check_classes
from recipe_check.process_group import join_all
from recipe_check.rank_store import Ranks
from recipe_check.rank_worker import SEEDS_APART
from recipe_check.ranks import RankLost, world
from recipe_check.request import LoadRequest
from recipe_check.runner import run_check
from recipe_check.values import to_plain

CHECKS = ("rank-parameters", "rank-gradients", "rank-sampling")


def main(folder: Path) -> None:
    here = world()
    assert here is not None
    ranks = Ranks(here, patience=20)
    join_all(ranks, "cpu", 60)
    kinds, found, job = check_classes(), {}, 0
    for file in sorted(folder.glob("*/*.py")):
        seed = SEEDS_APART * here.rank
        lab = Lab(load(LoadRequest(target=str(file), seed=seed)), "cpu", seed)
        lab.ranks = ranks
        ranks.keep_random_states()
        for id in CHECKS:
            job += 1
            ranks.begin(job)
            try:
                plain = to_plain(run_check(build(kinds[id], {}), lab))["verdict"]
            except RankLost as lost:
                plain = {"status": "lost", "message": lost.message}
            found[f"{file.stem}/{id}"] = plain
    if here.rank == 0:
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
