"""`recipe-check explain`: the manual of one check, or of all."""

from __future__ import annotations

import json
from collections.abc import Sequence

from recipe_check.errors import UsageError
from recipe_check.manual import manual_of, page
from recipe_check.plugins import check_classes, suggestion


def explained(
    check: str | None, plugins: Sequence[str] = (), *, everything: bool, plain: bool
) -> str:
    """Text, or JSON where `plain`; raises UsageError for an unknown check."""
    kinds = check_classes(plugins)
    if not everything and check not in kinds:
        text = f"no check called {check!r}" if check else "say which check, or --all"
        raise UsageError(text, suggestion(check or "", kinds))
    chosen = {id: kind for id, kind in kinds.items() if everything or id == check}
    if not plain:
        return "\n".join(page(id, kind) for id, kind in chosen.items())
    manuals = {id: manual_of(kind) for id, kind in chosen.items()}
    found = {i: {"summary": m.summary, "sections": m.sections} for i, m in manuals.items()}
    return json.dumps(found, indent=1) + "\n"
