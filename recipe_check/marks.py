"""Decorators for a user's own file. Importing them costs nothing: no torch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
LEAST_REASON = 10  # characters of a reason: "ok" is none
_MARK = "__recipe__"
_SUPPRESS = "__recipe_suppress__"


def recipe(function: F) -> F:
    """Marks the function that returns what to check, where it is not called `recipe`.

    It takes no argument (or those given with `--kwarg`) and returns a dict with the usual
    names (`model`, `train_loader`, `loss_fn`, `optimizer`, …), a dataclass, or a tuple in the
    order model, train_loader, loss_fn, optimizer, scheduler.
    """
    setattr(function, _MARK, True)
    return function


def suppressions_of(item: object) -> tuple[tuple[str, str, str | None], ...]:
    """(check, reason, expiry) of every mark on a class, '()' where there is none."""
    found: tuple[tuple[str, str, str | None], ...] = getattr(item, _SUPPRESS, ())
    return found


def suppress(
    check: str, *, reason: str, expires: str | None = None, permanent: bool = False
) -> Callable[[F], F]:
    """Marks a model class: findings of `check` do not count, for a stated reason.

    `expires` is an ISO date; give it or `permanent=True`. Raises ValueError where the reason is
    shorter than 10 characters, or neither or both of the two are given.
    """
    if len(reason.strip()) < LEAST_REASON:
        raise ValueError(f"suppress: the reason needs at least {LEAST_REASON} characters")
    if (expires is None) == (not permanent):
        raise ValueError("suppress: give expires='YYYY-MM-DD' or permanent=True")
    if expires is not None:
        date.fromisoformat(expires)

    def mark(item: F) -> F:
        earlier = getattr(item, _SUPPRESS, ())
        setattr(item, _SUPPRESS, (*earlier, (check, reason, expires)))
        return item

    return mark
