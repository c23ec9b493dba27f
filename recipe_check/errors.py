"""Errors that a user may see. Each message says what happened; `hint` says what to do next."""

from __future__ import annotations


class RecipeCheckError(Exception):
    """Base class; `exit_code` is the process exit code it leads to."""

    exit_code = 4

    def __init__(self, message: str, hint: str = "", trace: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.trace = trace  # the user's own frames, when their code raised
        for note in filter(None, (trace, hint)):
            self.add_note(note)  # shown where the error reaches Python itself


class UsageError(RecipeCheckError):
    """A wrong option, unknown check, bad configuration or unwritable path."""

    exit_code = 2


class LoadError(RecipeCheckError):
    """The target could not be loaded: import error, nothing found, ambiguous, trained on import."""

    exit_code = 3


class NotApplicable(Exception):
    """Raised by `Check.measure`: the check does not apply; the reason is shown as a skip."""


class UserCodeError(Exception):
    """The user's model, loss or loader raised while a check ran; `trace` holds their frames,
    `source` is the text of the line."""

    def __init__(
        self, message: str, trace: str = "", file: str = "", line: int = 0, source: str = ""
    ) -> None:
        super().__init__(message)
        self.trace = trace
        self.file = file
        self.line = line
        self.source = source
