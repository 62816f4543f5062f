"""Due dates: one calendar month, month ends, leap days, time zones; counted by hypothesis."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli.erasure.requests import add_months, days_left, due_date, parse_days, parse_received, shown_days, today
from gli.erasure.store import time_zone
from gli.errors import SettingError
from gli.system.ledger import timestamp


@pytest.mark.parametrize(
    ("received", "due"),
    [
        ("2026-11-03", "2026-12-03"),
        ("2026-12-15", "2027-01-15"),
        ("2027-01-31", "2027-02-28"),
        ("2028-01-31", "2028-02-29"),
        ("2028-01-30", "2028-02-29"),
        ("2028-02-29", "2028-03-29"),
        ("2026-05-31", "2026-06-30"),
        ("2100-01-29", "2100-02-28"),
        ("2026-03-29", "2026-04-29"),
    ],
)
def test_a_request_is_due_one_calendar_month_after_its_receipt(received, due):
    assert due_date(date.fromisoformat(received)) == date.fromisoformat(due)


@given(st.dates(date(1, 1, 1), date(9998, 12, 31)), st.integers(0, 12))
def test_the_due_date_is_in_the_month_that_was_meant_and_never_later_than_the_same_day(day, months):
    due = add_months(day, months)
    assert (due.year * 12 + due.month) - (day.year * 12 + day.month) == months
    assert due.day == day.day or (due.day < day.day and (due + timedelta(days=1)).day == 1)


def test_dates_beyond_the_calendar_are_one_message():
    with pytest.raises(SettingError, match="is no date"):
        due_date(date(9999, 12, 31))


def test_a_time_counts_in_the_time_zone_of_the_store():
    late = "2026-11-03T23:30:00-05:00"
    assert parse_received(late) == date(2026, 11, 4)
    assert parse_received(late, time_zone("America/New_York")) == date(2026, 11, 3)
    assert parse_received(late, time_zone("Asia/Tokyo")) == date(2026, 11, 4)
    assert parse_received("2026-11-03T00:30", time_zone("Asia/Tokyo")) == date(2026, 11, 3)
    assert parse_received(" 2028-02-29 ") == date(2028, 2, 29)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2027-02-29",
        "2026-13-01",
        "2026-W45-2",
        "20261103",
        "2026-11-03T",
        "03.11.2026",
        "\u0662\u0660\u0662\u0666-11-03",
    ],
)
def test_other_texts_are_no_dates(text):
    with pytest.raises(SettingError, match="is not a date"):
        parse_received(text)


@given(st.text(max_size=30))
def test_any_text_is_a_date_or_one_message(text):
    with suppress(SettingError):
        assert isinstance(parse_received(text), date)


def test_today_depends_on_the_zone():
    moment = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    assert today(UTC, moment) == date(2026, 12, 31)
    assert today(time_zone("Europe/Berlin"), moment) == date(2027, 1, 1)
    assert today(time_zone("America/Los_Angeles"), moment) == date(2026, 12, 31)


def test_times_are_written_in_utc():
    moment = datetime(2026, 11, 3, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2026-11-02T23:02:03Z"


def test_days_left_and_how_they_are_shown():
    assert [shown_days(days_left(date(2028, 3, 1), day)) for day in (date(2028, 2, 28), date(2028, 3, 1))] == [
        "due in 2 days",
        "due today",
    ]
    assert shown_days(-1) == "overdue by 1 day"
    assert shown_days(1) == "due in 1 day"


def test_durations():
    assert [parse_days(text) for text in ("7d", "2w", "7", "0d", " 3 d ")] == [7, 14, 7, 0, 3]
    for text in ("", "d", "-1d", "7m", "1e3", "\u0667d", "99999d"):
        with pytest.raises(SettingError, match="7d or 2w"):
            parse_days(text)


def test_unknown_time_zones_are_one_message():
    for name in ("Mars/Olympus", "", "../../etc/passwd", "x" * 300):
        with pytest.raises(SettingError, match="is not a time zone"):
            time_zone(name)
