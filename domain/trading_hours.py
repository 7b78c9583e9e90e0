"""When orders are taken: days and times of the week, UTC, written as people write them."""

import re
from collections.abc import Sequence
from datetime import datetime, time
from typing import Annotated, Final

from pydantic import AfterValidator

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN: Final = re.compile(r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? )?(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d)")


def is_within(hours: str, moment: datetime) -> bool:
    """Tell whether a moment (UTC) is within the hours. A span that ends before it begins runs over midnight."""
    return any(_covers(span, moment) for span in hours.split(","))


def _covers(span: str, moment: datetime) -> bool:
    days, begin, end = _read(span)
    now, today = moment.time().replace(tzinfo=None), moment.weekday()
    if begin < end:
        return today in days and begin <= now < end
    yesterday = (today - 1) % 7
    return (today in days and now >= begin) or (yesterday in days and now < end)


def _read(span: str) -> tuple[Sequence[int], time, time]:
    found = _SPAN.fullmatch(span.strip().lower())
    if found is None:
        raise ValueError(f"{span.strip()!r} is no span of hours; write for example mon-fri 08:00-17:30")
    try:
        begin, end = (time.fromisoformat(found[name]) for name in ("begin", "end"))
        first = DAYS.index(found["first"]) if found["first"] else 0
        last = DAYS.index(found["last"]) if found["last"] else (first if found["first"] else 6)
    except ValueError:
        raise ValueError(f"{span.strip()!r} names no day or time; write for example mon-fri 08:00-17:30") from None
    count = (last - first) % 7 + 1
    return [(first + step) % 7 for step in range(count)], begin, end


def _checked(text: str) -> str:
    for span in text.split(","):
        _read(span)
    return text


TradingHours = Annotated[str, AfterValidator(_checked)]
"""Spans with commas between: `mon-fri 08:00-17:30, sun 22:00-23:59`. Without days, every day."""
