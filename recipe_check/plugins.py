"""Discovery: checks, report writers and loaders register by entry point, built-in ones too."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Protocol

from recipe_check.api import PRESETS, STAGES, Check, Meta
from recipe_check.errors import UsageError
from recipe_check.ranks import NEED
from recipe_check.run_report import Report

CHECKS = "recipe_check.checks"
REPORTS = "recipe_check.reports"
LOADERS = "recipe_check.loaders"
MOST_LISTED = 20  # names in a message


class ReportWriter(Protocol):
    """Writes one format; derives everything from the report."""

    suffix: ClassVar[str]

    def render(self, report: Report, /) -> str: ...


def check_classes(extra: Iterable[str] = ()) -> dict[str, type[Check]]:
    """Every check by id, in the order in which they run.

    `extra` are paths of Python files with checks in them. Raises UsageError for a plugin that
    does not import, is no check, or takes an id that is taken.
    """
    found: dict[str, tuple[str, type[Check]]] = {}
    for point in sorted(entry_points(group=CHECKS), key=lambda p: p.name):
        _register(found, _load(point), f"{_owner(point)} ({point.value})")
    for path in extra:
        for kind in _checks_in_file(Path(path)):
            _register(found, kind, path)
    return _ordered({id: kind for id, (_, kind) in found.items()})


def _register(found: dict[str, tuple[str, type[Check]]], kind: Any, owner: str) -> None:
    meta = getattr(kind, "meta", None)
    is_dataclass = dataclasses.is_dataclass(kind)
    if not isinstance(meta, Meta) or not is_dataclass:
        raise UsageError(f"{owner} is no check: a dataclass with `meta: ClassVar[Meta]` is needed")
    if meta.stage not in STAGES:
        raise UsageError(f"{owner}: stage {meta.stage!r} is none of {', '.join(STAGES)}")
    if meta.id in found:
        raise UsageError(f"two checks are called {meta.id}: {found[meta.id][0]} and {owner}")
    found[meta.id] = (owner, kind)


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        raise UsageError(
            f"the plugin {point.name} of {_owner(point)} does not load: "
            f"{type(error).__name__}: {error}",
            f"reinstall or remove {_owner(point)}",
        ) from error


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value.split(":")[0]


def _checks_in_file(path: Path) -> list[Any]:
    spec = importlib.util.spec_from_file_location(f"recipe_check_plugin_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"no plugin file {path}", "give the path of a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their annotations up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} does not load: {type(error).__name__}: {error}") from error
    own = [v for v in vars(module).values() if getattr(v, "__module__", "") == module.__name__]
    found = [v for v in own if isinstance(v, type) and isinstance(getattr(v, "meta", None), Meta)]
    if not found:
        raise UsageError(f"{path} holds no check: a dataclass with `meta: ClassVar[Meta]`")
    return found


def _ordered(kinds: Mapping[str, type[Check]]) -> dict[str, type[Check]]:
    """Stage by stage as in the recipe; within a stage each after those it names, then by id."""
    done: dict[str, type[Check]] = {}
    for stage in STAGES:
        waiting = sorted(id for id, kind in kinds.items() if kind.meta.stage == stage)
        while waiting:
            ready = [id for id in waiting if not set(kinds[id].meta.after) & set(waiting)]
            chosen = ready[0] if ready else waiting[0]
            done[chosen] = kinds[chosen]
            waiting.remove(chosen)
    return done


def report_writers() -> dict[str, ReportWriter]:
    """Every report writer by the name of its format."""
    return {p.name: _load(p)() for p in entry_points(group=REPORTS)}


def loader_classes() -> dict[str, Any]:
    """Every loader's class by the name of its library, in alphabetical order."""
    return {p.name: _load(p) for p in sorted(entry_points(group=LOADERS), key=lambda p: p.name)}


def build(kind: type[Check], options: Mapping[str, Any]) -> Check:
    """The check with its option values; raises UsageError for an unknown or mistyped one."""
    dataclass: Any = kind
    fields = {field.name: field for field in dataclasses.fields(dataclass)}
    for name, value in options.items():
        if name not in fields:
            raise UsageError(f"{kind.meta.id} has no option {name!r}", suggestion(name, fields))
        default = fields[name].default
        if isinstance(default, float) and type(value) is int:
            continue
        if type(value) is not type(default):
            raise UsageError(
                f"{kind.meta.id}: {name} = {value!r} should be {_article(type(default).__name__)}"
            )
    return kind(**options)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """ "did you mean …?", or the list of what is known where it is short (checks are many)."""
    names = list(known)
    close = get_close_matches(name, names, n=1) or [known for known in names if name in known]
    if name and close:
        return f"did you mean {close[0]!r}?"
    short = len(names) <= MOST_LISTED
    return f"known: {', '.join(names)}" if short else "recipe-check list  shows all checks"


def select(
    kinds: Mapping[str, type[Check]],
    only: Iterable[str] = (),
    skip: Iterable[str] = (),
    preset: str = "default",
    *,
    ranks: bool = False,
) -> list[str]:
    """Ids to run, in order: by preset, or exactly `only` (ids or groups), without `skip`. Those
    that compare the `ranks` of a training are left out where there is one alone, unless named."""
    named, unwanted = list(only), _expand(kinds, skip)
    wanted = _expand(kinds, named)
    allowed = PRESETS[: PRESETS.index(preset) + 1]
    return [
        id
        for id, kind in kinds.items()
        if (id in wanted if wanted else kind.meta.preset in allowed)
        and id not in unwanted
        and (ranks or NEED not in kind.meta.needs or {id, kind.meta.group} & set(named))
    ]


def _expand(kinds: Mapping[str, type[Check]], names: Iterable[str]) -> set[str]:
    groups = {label for kind in kinds.values() for label in (kind.meta.group, kind.meta.stage)}
    found: set[str] = set()
    for name in names:
        members = {i for i, k in kinds.items() if name in (i, k.meta.group, k.meta.stage)}
        if not members:
            known = [*kinds, *sorted(groups - {""})]
            raise UsageError(f"no check called {name!r}", suggestion(name, known))
        found |= members
    return found
