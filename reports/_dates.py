"""Days between the run and the end of a suppression; nothing where a date is no date."""

from __future__ import annotations

from datetime import date, timedelta

SUGGESTED = timedelta(days=90)


def suggested_end(started: str) -> str:
    """How long a suppression that is written on the day of the run might hold; '' for no date."""
    day = _day(started)
    return "" if day is None else (day + SUGGESTED).isoformat()


def with_days(expires: str, started: str) -> str:
    """`2027-02-21 (in 92 days)`."""
    end, day = _day(expires), _day(started)
    return expires if end is None or day is None else f"{expires} (in {(end - day).days} days)"


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None
