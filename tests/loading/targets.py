"""Target files written, loaded and checked in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipe_check.lab import Lab
from recipe_check.loading import load
from recipe_check.plugins import check_classes
from recipe_check.request import LoadRequest
from recipe_check.results import Result
from recipe_check.runner import run_check
from recipe_check.subject import Subject

CHECKS = check_classes()


def loaded(folder: Path, text: str, file: str = "target.py", **request: Any) -> Subject:
    """The subject of a file with this text; `suffix` is what follows the file's name."""
    path = folder / file
    path.write_text(text)
    return load(LoadRequest(target=str(path) + request.pop("suffix", ""), **request))


def checked(subject: Subject, *ids: str) -> dict[str, Result]:
    """These checks on the CPU, by id."""
    lab = Lab(subject, device="cpu")
    assert lab.broken is None, lab.broken
    return {id: run_check(CHECKS[id](), lab) for id in ids}


def line_of(result: Result, folder: Path, file: str = "target.py") -> str:
    """The source line to which a finding points, stripped."""
    assert result.verdict.location is not None, result
    return (folder / file).read_text().splitlines()[result.verdict.location.line - 1].strip()


def how(subject: Subject) -> dict[str, str]:
    """How each role was found."""
    return {found.role: found.how for found in subject.found}
