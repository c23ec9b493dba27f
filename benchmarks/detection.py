"""Bugs found and false alarms over the corpus:  python -m benchmarks.detection

Every program of `benchmarks/corpus` is checked in a process of its own, two at a time. A bug
counts as detected when any check fails or warns; by the right check when one that owns it does (as
`corpus/bugs.toml` says); with the right cause when that finding's words name it; on the right line
when a finding stands on the line marked `# BUG`. Sound programs and the twins of the bugs must not
fail.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from recipe_check.results import Result
from recipe_check.run_report import Report, decode
from recipe_check.values import CauseState, Status

CORPUS = Path(__file__).parent / "corpus"
RESULTS = Path(__file__).parent / "RESULTS.md"
ANSWERS = tomllib.loads((CORPUS / "bugs.toml").read_text())
SEVEN = frozenset({
    "initial-loss", "overfit-one-batch", "input-independent-baseline", "batch-dependency",
    "gradient-norms", "dead-relu", "gradient-check",
})  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What the tool said of one program."""

    kind: str  # bugs, twins or sound
    name: str
    exit_code: int
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    broke: tuple[str, ...]
    marked: bool  # the mistake sits on the line marked `# BUG`
    right_check: bool
    right_cause: bool
    right_line: bool
    of_seven: bool  # the mistake is owned by one of the recipe's own checks
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

    answer = ANSWERS.get(program.stem, {}) if program.parent.name == "bugs" else {}
    right = [r for r in results if r.is_finding and r.id in answer.get("checks", ())]
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
        marked=bool(bug) and answer.get("line", True),
        right_check=bool(right),
        right_cause=any(re.search(answer["cause"], _words(r)) for r in right),
        right_line=bool(bug & places),
        of_seven=bool(SEVEN & set(answer.get("checks", ()))),
        seconds=report.run.seconds if report else 0.0,
    )


def _words(result: Result) -> str:
    """Everything the finding says of its cause."""
    verdict = result.verdict
    causes = [c for c in verdict.causes if c.state is CauseState.MATCHES]
    said = [verdict.message, *(f"{c.title} {c.evidence}" for c in causes)]
    return "\n".join((*said, verdict.fix.text if verdict.fix else ""))


def run(programs: Sequence[Path], jobs: int) -> list[Outcome]:
    """Outcomes in the order of the programs."""
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(measure, programs))


def table(outcomes: Sequence[Outcome]) -> str:
    """The summary and a row for each program, as Markdown."""
    bugs = [o for o in outcomes if o.kind == "bugs"]
    sound = [o for o in outcomes if o.kind != "bugs"]
    seven = [o for o in bugs if o.of_seven]
    lines = ["| measure | all bugs | owned by the recipe's seven |", "| --- | --- | --- |"]
    for name, value in MEASURES.items():
        shares = [_share([flag for o in group if (flag := value(o)) is not None])
                  for group in (bugs, seven)]  # fmt: skip
        lines.append(f"| {name} | {shares[0]} | {shares[1]} |")
    lines += [
        "",
        "| measure | sound programs and twins |",
        "| --- | --- |",
        f"| false `fail` | {_share([bool(o.failed) for o in sound])} |",
        f"| false `warn` | {_share([bool(o.warned) for o in sound])} |",
        f"| a check broke (of all programs) | {_share([bool(o.broke) for o in outcomes])} |",
        "",
        "| program | failed | warned | check | cause | line | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for o in outcomes:
        said = [", ".join(names) or "–" for names in (o.failed, (*o.warned, *o.broke))]
        rights = [_yes(o.right_check), _yes(o.right_cause), _yes(o.right_line)]
        shown = " | ".join(rights if o.kind == "bugs" else ["–"] * 3)
        lines.append(f"| {o.kind}/{o.name} | {said[0]} | {said[1]} | {shown} | {o.seconds:.1f} |")
    return "\n".join(lines) + "\n"


MEASURES: dict[str, Callable[[Outcome], bool | None]] = {
    "detected (fail or warn)": lambda o: o.detected,
    "with a `fail`": lambda o: bool(o.failed),
    "by the right check": lambda o: o.right_check,
    "with the right cause": lambda o: o.right_cause,
    "on the right line, of those that sit on one": lambda o: o.right_line if o.marked else None,
}


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _share(flags: Sequence[bool]) -> str:
    percent = f" ({sum(flags) / len(flags):.0%})" if flags else ""
    return f"{sum(flags)} of {len(flags)}{percent}"


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
