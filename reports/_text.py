"""Text from the user's program made safe to show, and numbers made readable."""

from __future__ import annotations

import math
import re

MOST = 500  # characters of any one text from outside
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def clean(text: str, most: int = 20_000) -> str:
    """Escape sequences removed, invisible and direction-changing characters shown, cut."""
    text = _ANSI.sub("", text[: 4 * most]).replace("\r\n", "\n")
    if len(text) > most:
        text = text[:most] + "…"
    if text.isprintable():  # nearly always, and much faster
        return text
    return "".join(_visible(character) for character in text)


def short(text: str) -> str:
    """One text of at most 500 characters."""
    return clean(text, MOST)


def one_line(text: str) -> str:
    """As `short`, on one line, and nothing in it that a CI log takes for a command."""
    return _no_command(" ".join(short(text).split()))


def code_line(text: str) -> str:
    """A line of source with its columns kept."""
    return _no_command(short(text.rstrip()).replace("\n", " "))


def _no_command(text: str) -> str:
    """GitHub's runner obeys `::name::` where a line begins and `##[name]` anywhere in it."""
    return re.sub(r"(^|\s)::", r"\1: :", text).replace("##[", "## [")


def _visible(character: str) -> str:
    """Spaces of other scripts stay; what has no shape of its own is written as its number."""
    if character in "\u2028\u2029":
        return "\n"
    if character in "\n\t" or character.isprintable():
        return character
    if character.isspace() and character >= "\xa0":
        return character
    return f"\\u{ord(character):04x}"


def number(value: float | int | str | None) -> str:
    """Four significant digits; whole numbers with thousands separators; — for nothing."""
    if value is None:
        return "—"
    if isinstance(value, str):
        return short(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return str(value) if not math.isfinite(value) else f"{value:.4g}"


def seconds(value: float) -> str:
    """`0.1 s`, `32.6 s`."""
    return f"{value:.1f} s"


def plural(count: int, word: str) -> str:
    """`1 warning`, `2 warnings`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
