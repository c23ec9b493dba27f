"""How fast it is, side by side with what else does the same:  python -m benchmarks.speed

Every section runs in a process of its own on one thread. What is compared runs in turn; figures
are medians.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "SPEED.md"
SECTIONS = ("torchtest2", "batches", "gradients", "startup", "growth", "preset")
DRAWN = ("growth",)  # they write a picture beside the results
HEAD = """# Speed

Made by `make benchmark-speed` on a shared machine with two CPU cores, `OMP_NUM_THREADS=1`: what is
compared runs in turn in one run, and figures are medians. Within a process they are CPU time, which
on one thread is the time on an idle machine; for commands, the time on the clock.
`python -m benchmarks.gpu` is for a machine with a GPU.
"""


def measure(section: str, *words: str) -> str:
    """The Markdown of one section; raises CalledProcessError where it breaks."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.speed_{section}", *words],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout


def replaced(text: str, found: dict[str, str]) -> str:
    """The results file with new sections in place of those of the same title."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    sections = {part.splitlines()[0]: part.strip() for part in parts}
    sections |= {new.splitlines()[0]: new.strip() for new in found.values()}
    return "\n\n".join([HEAD.strip(), *sections.values()]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, action="append", help="repeatable")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    found = {}
    for section in given.only or SECTIONS:
        start = time.monotonic()
        found[section] = measure(
            section, *(["--write"] if given.write and section in DRAWN else [])
        )
        print(found[section])
        print(f"{section}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    if given.write:
        before = RESULTS.read_text() if given.only and RESULTS.exists() else ""
        RESULTS.write_text(replaced(before, found))


if __name__ == "__main__":
    main()
