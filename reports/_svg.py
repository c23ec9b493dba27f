"""An SVG of matplotlib made small: what no reader sees and nothing names is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"<[^>]*>|[^<]+")
_NAMED = re.compile(r'(?:href="#|url\(#)([^")]+)')
_ID = re.compile(r' id="([^"]*)"')
_UNSEEN = re.compile(r'<path d="[^"]*" style="fill:none"/>|<g/>')
_FONT = "text{font-family:system-ui,sans-serif}"
# Within a tag: fonts are named once, numbers have two decimals, spaces that say nothing go.
_SHORTER = (
    (re.compile(r"font-family: [^;\"]*;? ?"), ""),
    (re.compile(r' transform="rotate\(-?0 [^"]*"'), ""),
    (re.compile(r"(\.\d\d)\d+"), r"\1"),
    (re.compile(r"(\.[1-9])0\b|\.0+\b"), r"\1"),
    (re.compile(r"([:;,]) (?=[a-z#\d-])"), r"\1"),
    (re.compile(r"\s*\n\s*|\s+(?=\")"), ""),
    (re.compile(r" ?(?<![A-Za-z])([MLCQz]) ?(?=[-\d\"MLCQz])"), r"\1"),
    (re.compile(r" xmlns:xlink=\"[^\"]*\"|xlink:(?=href)"), ""),
    (re.compile(r"\s+(?=/>)"), ""),
)


def compact(text: str, colors: Mapping[str, tuple[str, str]]) -> str:
    """The picture without preamble and white space, its colours by name: (light, dark)."""
    text = text[text.index("<svg") :]
    named = set(_NAMED.findall(text))
    small = "".join(_without_empty_groups(_tokens(text, named, colors)))
    return small.replace("<defs>", f"<defs><style>{_sheet(small, colors)}</style>", 1)


def _tokens(text: str, named: set[str], colors: Mapping[str, tuple[str, str]]) -> list[str]:
    """Tags made short; the texts between them stay as they are, but for those of white space."""
    found = [token for token in _TOKEN.findall(text) if not token.isspace()]
    short = (_short(token, named, colors) if token[0] == "<" else token for token in found)
    return [token for token in short if not _UNSEEN.fullmatch(token)]


def _short(tag: str, named: set[str], colors: Mapping[str, tuple[str, str]]) -> str:
    tag = _ID.sub(lambda id: id[0] if id[1] in named else "", tag)
    for pattern, shorter in _SHORTER:
        tag = pattern.sub(shorter, tag)
    for name, (light, _) in colors.items():
        tag = tag.replace(light, f"var(--{name})")
    return tag


def _without_empty_groups(tokens: list[str]) -> list[str]:
    """A group without an attribute changes nothing: its two tags go, what is in it stays."""
    kept: list[str] = []
    groups: list[bool] = []
    for token in tokens:
        if token == "</g>":
            kept += [token] * groups.pop()
        elif token.startswith("<g") and not token.endswith("/>"):
            groups.append(token != "<g>")
            kept += [token] * groups[-1]
        else:
            kept.append(token)
    return kept


def _sheet(text: str, colors: Mapping[str, tuple[str, str]]) -> str:
    """The colours that occur, on light pages and on dark ones."""
    used = {name: pair for name, pair in colors.items() if f"var(--{name})" in text}
    light, dark = (";".join(f"--{n}:{pair[i]}" for n, pair in used.items()) for i in (0, 1))
    return f"{_FONT}:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
