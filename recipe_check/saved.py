"""Reading a result that was saved as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec

from recipe_check.errors import UsageError
from recipe_check.run_report import Report, decode


def read_report(path: str) -> Report:
    """The report in a file; raises UsageError where there is none."""
    try:
        return decode(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        said = f"cannot read {path}: {error.strerror}"
        raise UsageError(said, "write one with  --json FILE") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(
            f"{path} is no result of recipe-check: {error}", "write one with  --json FILE"
        ) from error
