"""Checks that take one step on the target `faulty.py` with a fault in it, and sound ones."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, ClassVar

from recipe_check import Meta, Status, Verdict
from recipe_check.reading import read_batches

PLACES = {
    "forward": "kill segfault orphan hang hang_in_c allocate interrupt exit ending fork close "
    "shout recurse meddle raise",
    "loss": "interrupt exit",
    "loader": "hang interrupt exit",
    "data": "leave",
}


def _check(id: str, fault: str) -> type:
    class Made:
        """Takes a step."""

        meta: ClassVar[Meta] = Meta(id=id, stage="training", title="t", fail_title="f", cost="0")

        def measure(self, lab: Any) -> float:
            target = sys.modules["faulty"]
            if "broken" not in vars(lab):
                raise RuntimeError("this process has not taken the first step")
            target.FAULT = fault
            try:
                if fault.startswith("loader"):
                    read_batches(lab.subject.loader, 2)
                if fault.startswith("data"):
                    read_batches(target.forked_loader, 2)
                return float(lab.rig().train().step(lab.train_batches[0]).loss.detach())
            finally:
                target.FAULT = ""

        def judge(self, loss: float) -> Verdict:
            return Verdict(status=Status.PASS, message=f"{loss:.6f}")

    Made.__name__ = Made.__qualname__ = id.replace("-", "_")
    Made.__module__ = __name__
    return dataclass(frozen=True, kw_only=True)(Made)


for _place, _faults in PLACES.items():
    for _fault in _faults.split():
        globals()[f"{_place}_{_fault}"] = _check(f"{_place}-{_fault}", f"{_place}-{_fault}")
for _number in range(12):
    globals()[f"fine_{_number}"] = _check(f"fine-{_number}", "")
