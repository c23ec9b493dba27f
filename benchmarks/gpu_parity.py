"""Verdicts on a GPU beside those on the CPU, over the corpus:  python -m benchmarks.gpu_parity

Every program is checked twice, with `--device cpu` and with `--device auto`, and each check whose
verdict differs is a line. Without a GPU it says so and ends with 0; else with 1 where any differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from recipe_check.run_report import Report, decode

CORPUS = Path(__file__).parent / "corpus"


def checked(program: Path, device: str, *words: str) -> Report | None:
    """The result of the default preset on one device; None where the target did not load."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        subprocess.run(
            [sys.executable, "-m", "recipe_check", program.name, "--no-html", "--json", file,
             "--device", device, "--budget", "300", *words],
            cwd=program.parent, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True,
            check=False,
        )  # fmt: skip
        return decode(file.read_text()) if file.exists() else None


def differences(one: Report | None, other: Report | None) -> list[str]:
    """A line for each check whose verdict is not the same, in the words of both."""
    if one is None or other is None:
        return [] if one is other else ["loads on one of them only"]
    pairs = zip(one.results, other.results, strict=True)
    return [
        f"{a.id}: {a.status} ({a.verdict.message}), {b.status} ({b.verdict.message})"
        for a, b in pairs
        if a.status is not b.status
    ]


def compare(programs: Sequence[Path], one: str, other: str, *words: str) -> int:
    """Prints what differs; returns the number of programs with a difference."""
    different, moved = 0, 0
    for program in programs:
        pair = checked(program, one, *words), checked(program, other, *words)
        found = differences(*pair)
        different += bool(found)
        moved += pair[1] is not None and any("on the CPU" in n for n in pair[1].target.notes)
        for line in found:
            print(f"{program.parent.name}/{program.stem}: {line}", flush=True)
    print(f"{len(programs)} programs on {one} and {other}: {different} differ, "
          f"{moved} run on the CPU only")  # fmt: skip
    return different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", nargs="*", help="stems of the corpus; default: all")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU: torch.cuda.is_available() is False here, nothing was run")
        return 0
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    programs = sorted(
        p for kind in ("bugs", "twins", "sound") for p in (CORPUS / kind).glob("*.py")
    )
    chosen = [p for p in programs if not given.program or p.stem in given.program]
    return int(compare(chosen, "cpu", "auto") > 0)


if __name__ == "__main__":
    sys.exit(main())
