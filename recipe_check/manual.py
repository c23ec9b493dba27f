"""A check's docstring is its manual: a summary line, then underlined sections."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import dataclass

SECTIONS = (
    "What it measures",
    "Why it matters",
    "How it decides",
    "Cost",
    "Known limits",
    "Example",
    "Fix",
    "Sources",
)


@dataclass(frozen=True)
class Manual:
    """The parsed docstring; `sections` keep the order in which they stand."""

    summary: str
    sections: dict[str, str]

    def first_paragraph(self, title: str) -> str:
        """The first paragraph of a section on one line, '' where there is none."""
        return " ".join(self.sections.get(title, "").split("\n\n")[0].split())


def manual_of(check: object) -> Manual:
    """The manual of a check class or instance; raises ValueError naming a missing section."""
    kind = check if inspect.isclass(check) else type(check)
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    sections = _sections(lines)
    missing = [title for title in SECTIONS if not sections.get(title)]
    if missing:
        raise ValueError(f"{kind.__name__}: the docstring has no section {missing[0]!r}")
    return Manual(lines[0].strip(), sections)


def _sections(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if line.strip() and set(below.strip()) == {"-"}:
            current = found.setdefault(line.strip(), [])
        elif set(line.strip()) != {"-"} and current is not None:
            current.append(line)
    return {title: "\n".join(body).strip("\n") for title, body in found.items()}


def page(id: str, check: object) -> str:
    """The manual as plain text for a terminal."""
    manual = manual_of(check)
    parts = [f"{id}\n{'=' * len(id)}", manual.summary]
    parts += [f"{title}\n{textwrap.indent(body, '  ')}" for title, body in manual.sections.items()]
    return "\n\n".join(parts) + "\n"
