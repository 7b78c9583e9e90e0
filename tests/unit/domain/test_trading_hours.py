"""When orders are taken: to the minute, over midnight, over the end of the week, UTC."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from domain.trading_hours import DAYS, TradingHours, is_within

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def at(written: str) -> datetime:
    """Return a moment of one week: `tue 08:00` or `tue 07:59:59.999999`."""
    day, time = written.split()
    hours, minutes, seconds = (float(part) for part in f"{time}:0".split(":")[:3])
    return MONDAY + timedelta(days=DAYS.index(day), hours=hours, minutes=minutes, seconds=seconds)


@pytest.mark.parametrize(
    ("hours", "within", "without"),
    [
        ("08:00-17:30", "mon 08:00, sun 17:29:59.999999", "mon 07:59:59.999999, sun 17:30"),
        ("mon-fri 08:00-17:30", "mon 08:00, fri 17:29", "sat 12:00, sun 12:00, fri 17:30"),
        ("wed 08:00-17:30", "wed 12:00", "tue 12:00, thu 12:00"),
        ("fri-mon 08:00-17:30", "fri 12:00, sun 12:00, mon 12:00", "tue 12:00, thu 12:00"),
        ("22:00-02:00", "mon 22:00, mon 23:59:59.999999, tue 00:00, tue 01:59", "mon 21:59, mon 02:00, mon 12:00"),
        ("mon 22:00-02:00", "mon 22:00, tue 01:59:59.999999", "mon 01:59, tue 02:00, tue 22:00, sun 23:00"),
        ("sun 22:00-02:00", "sun 23:00, mon 00:00, mon 01:59", "mon 02:00, mon 22:00, sun 01:00"),
        ("mon-tue 22:00-02:00", "mon 23:00, tue 01:00, tue 23:00, wed 01:00", "mon 01:00, wed 22:00"),
        ("00:00-00:00", "mon 00:00, wed 12:00, sun 23:59:59.999999", ""),
        ("sat 00:00-00:00", "sat 00:00, sat 23:59", "fri 23:59, sun 00:00"),
        ("mon 08:00-09:00, TUE 10:00-11:00", "mon 08:30, tue 10:30", "mon 10:30, tue 08:30"),
    ],
)
def test_hours_hold_from_their_first_moment_to_before_their_last(hours: str, within: str, without: str) -> None:
    assert [moment for moment in within.split(", ") if not is_within(hours, at(moment))] == []
    assert [moment for moment in without.split(", ") if moment and is_within(hours, at(moment))] == []


@pytest.mark.parametrize(
    "hours", ["", "8:00-17:30", "mon", "mon-fri", "xyz 08:00-17:30", "24:00-25:00", "08:00-17:30,", "08:60-09:00"]
)
def test_what_names_no_hours_is_refused_when_it_is_set(hours: str) -> None:
    with pytest.raises(ValidationError, match="write for example mon-fri 08:00-17:30"):
        TypeAdapter(TradingHours).validate_python(hours)
