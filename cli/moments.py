"""Times as people write them on the command line: so long ago, or ISO 8601."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

_AGO: Final = re.compile(r"([1-9][0-9]{0,5})(m|h|d)", re.ASCII)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime) -> datetime:
    """Return the time that is meant; one without a zone is UTC. Raises `typer.BadParameter`."""
    ago = _AGO.fullmatch(text)
    try:
        at = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no time: write 30m, 24h, 7d, or 2026-11-24T12:00Z") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
