"""What workers have seen of their venues and feeds, one row for each account."""

from sqlalchemy import BigInteger, Column, Table, Text

from storage.tables import metadata, time

venue_states = Table(
    "venue_states",
    metadata,
    Column("account", Text, primary_key=True),
    time("answered_at", nullable=True),
    time("failed_at", nullable=True),
    Column("error", Text),
    time("measured_at", nullable=True),
    Column("latency_ms", BigInteger),
    Column("clock_skew_ms", BigInteger),
    time("followed_at", nullable=True),
    time("told_at"),
    Column("told_by", Text, nullable=False),
)
"""All times are by the ledger's clock. It is written again and again in place, and nothing else hangs on it."""
