"""What the user's code raises becomes a UserCodeError with their line, whatever its class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recipe_check.errors import NotApplicable, RecipeCheckError, UserCodeError
from recipe_check.userframes import error_location, user_traceback

_alone: list[bool] = []


def own_process() -> None:
    """Said by the worker: nobody else is in this process, so that no exception is for them."""
    _alone.append(True)


def is_callers(error: BaseException) -> bool:
    """Whether it must reach the caller: in their process Ctrl-C, and what pytest or asyncio
    raise to end something, derive from BaseException alone."""
    return not _alone and not isinstance(error, Exception | SystemExit)


@contextmanager
def guarded(who: str = "") -> Iterator[None]:
    """Whatever the block raises becomes a UserCodeError; `who` raised it, '' for the line."""
    try:
        yield
    except (UserCodeError, NotApplicable, RecipeCheckError):
        raise
    except BaseException as error:
        if is_callers(error):
            raise
        raise as_user_error(error, who) from error


def as_user_error(error: BaseException, who: str = "") -> UserCodeError:
    """The error with the innermost line of the user's that it passed through."""
    where = error_location(error)
    place = (where.file, where.line, where.source) if where else ("", 0, "")
    said = f"{type(error).__name__}: {error}"
    return UserCodeError(f"{who} raised {said}" if who else said, user_traceback(error), *place)
