"""Bugs found and false alarms over the corpus:  python -m benchmarks.detection

Every program of `benchmarks/corpus` is checked in a process of its own, two at a time. A bug
counts as detected when any check fails or warns, as the right line when a finding stands on the
line marked `# BUG`. Sound programs and the twins of the bugs must not fail.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from recipe_check.results import Report, Status, decode

CORPUS = Path(__file__).parent / "corpus"
RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Outcome:
    """What the tool said of one program."""

    kind: str  # bugs, twins or sound
    name: str
    exit_code: int
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    broke: tuple[str, ...]
    marked: bool  # the program has a line marked `# BUG`
    right_line: bool
    seconds: float

    @property
    def detected(self) -> bool:
        return bool(self.failed or self.warned)


def measure(program: Path) -> Outcome:
    """Runs the command line on one program."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        done = subprocess.run(
            [sys.executable, "-m", "recipe_check", program.name, "--no-html", "--json", file,
             "--budget", "150"],
            cwd=program.parent, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True,
            check=False,
        )  # fmt: skip
        report = decode(file.read_text()) if file.exists() else None
    return _outcome(program, done.returncode, report)


def _outcome(program: Path, exit_code: int, report: Report | None) -> Outcome:
    results = report.results if report else ()

    def ids(status: Status) -> tuple[str, ...]:
        return tuple(result.id for result in results if result.status is status)

    lines = program.read_text().splitlines()
    bug = {number for number, line in enumerate(lines, 1) if "# BUG" in line}
    places = {r.verdict.location.line for r in results if r.is_finding and r.verdict.location}
    return Outcome(
        kind=program.parent.name,
        name=program.stem,
        exit_code=exit_code,
        failed=ids(Status.FAIL),
        warned=ids(Status.WARN),
        broke=ids(Status.ERROR) or (("not loaded",) if report is None else ()),
        marked=bool(bug),
        right_line=bool(bug & places),
        seconds=report.run.seconds if report else 0.0,
    )


def run(programs: Sequence[Path], jobs: int) -> list[Outcome]:
    """Outcomes in the order of the programs."""
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(measure, programs))


def table(outcomes: Sequence[Outcome]) -> str:
    """The summary and a row for each program, as Markdown."""
    bugs = [o for o in outcomes if o.kind == "bugs"]
    sound = [o for o in outcomes if o.kind != "bugs"]
    lines = [
        "| measure | result |",
        "| --- | --- |",
        f"| bugs detected (fail or warn) | {_share([o.detected for o in bugs])} |",
        f"| bugs with a `fail` | {_share([bool(o.failed) for o in bugs])} |",
        f"| right line, of all bugs | {_share([o.right_line for o in bugs if o.marked])} |",
        f"| sound programs with a false `fail` | {_share([bool(o.failed) for o in sound])} |",
        f"| sound programs with a false `warn` | {_share([bool(o.warned) for o in sound])} |",
        f"| programs on which a check broke | {_share([bool(o.broke) for o in outcomes])} |",
        "",
        "| program | failed | warned | right line | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for o in outcomes:
        said = [", ".join(names) or "–" for names in (o.failed, (*o.warned, *o.broke))]
        line = ("yes" if o.right_line else "no") if o.marked else "–"
        lines.append(f"| {o.kind}/{o.name} | {said[0]} | {said[1]} | {line} | {o.seconds:.1f} |")
    return "\n".join(lines) + "\n"


def _share(flags: Sequence[bool]) -> str:
    return f"{sum(flags)} of {len(flags)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="*", type=Path, help="default: the whole corpus")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all outcomes")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    programs = given.programs or sorted(CORPUS.glob("*/*.py"))
    outcomes = run(programs, given.jobs)
    text = table(outcomes)
    print(text)
    if given.json:
        given.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1))
    if given.write:
        head = "# Detection\n\nMade by `make benchmark-detection` on two CPU cores.\n\n"
        RESULTS.write_text(head + text)


if __name__ == "__main__":
    main()
