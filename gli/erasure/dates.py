"""Dates of requests: when one was received, when it is due, and how long is left. Pure functions of dates."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from gli.errors import SettingError

DURATION = re.compile(r"(\d{1,4})\s*([dw]?)", re.ASCII)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def time_zone(name: str) -> tzinfo:
    """Return the time zone of a name such as ``Europe/Berlin``.

    Raises:
        SettingError: If there is no such zone.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise SettingError(f"{name!r} is not a time zone. Write one such as UTC or Europe/Berlin.") from error


def add_months(day: date, months: int) -> date:
    """Return the same day of a later month, or the last day of that month if it is shorter.

    Raises:
        SettingError: If the result lies after the year 9999.
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    try:
        return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
    except (ValueError, OverflowError) as error:
        raise SettingError(f"{day} and {months} months is no date. Check the year.") from error


def due_date(received: date, months: int = 1) -> date:
    """Return the last day on which a request may be answered: one calendar month after its receipt.

    A request of 31 January is due on 28 or 29 February. Weekends and holidays do not extend it here; where the law
    extends it, the date is early, never late.
    """
    return add_months(received, months)


def parse_received(text: str, zone: tzinfo = UTC) -> date:
    """Return the day on which a request was received.

    Args:
        text: A day (``2026-11-03``), or a time with its offset (``2026-11-03T23:30:00-05:00``), which is converted to
            the zone. A time without an offset is a time of the zone.
        zone: Time zone of the store.

    Raises:
        SettingError: If it is neither.
    """
    text = text.strip()
    try:
        if DAY.fullmatch(text):
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        if DAY.match(text) is None or len(text) < 16:
            raise ValueError("no day")
        return moment.astimezone(zone).date() if moment.tzinfo else moment.date()
    except (ValueError, OverflowError) as error:
        raise SettingError(
            f"{text[:40]!r} is not a date. Write the day of receipt as 2026-11-03, or a time as "
            "2026-11-03T23:30:00+01:00."
        ) from error


def parse_days(text: str) -> int:
    """Return the days of a duration such as ``7d``, ``2w`` or ``7``.

    Raises:
        SettingError: If it has another form.
    """
    match = DURATION.fullmatch(text.strip())
    if not match:
        raise SettingError(f"{text[:40]!r} is not a number of days. Write 7d or 2w.")
    return int(match[1]) * (7 if match[2] == "w" else 1)


def today(zone: tzinfo, now: datetime | None = None) -> date:
    """Return the present day in a time zone; ``now`` must have an offset."""
    return (now or datetime.now(UTC)).astimezone(zone).date()


def timestamp(now: datetime | None = None) -> str:
    """Return a time in UTC to the second, such as ``2026-11-03T22:30:00Z``."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def days_left(due: date, day: date) -> int:
    """Return the days from a day to a due date; 0 on the due date, negative when it is over."""
    return (due - day) // timedelta(days=1)


def shown_days(left: int) -> str:
    """Return ``due in 3 days``, ``due today`` or ``overdue by 2 days``."""
    if left == 0:
        return "due today"
    unit = "day" if abs(left) == 1 else "days"
    return f"due in {left} {unit}" if left > 0 else f"overdue by {-left} {unit}"
