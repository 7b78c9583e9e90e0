"""Tables of the archive: the histories of closed workflows, and which are still owed."""

from sqlalchemy import Boolean, CheckConstraint, Column, DateTime, Index, Integer, LargeBinary, Table, Text, text

from storage.tables import metadata, time

archived_histories = Table(
    "archived_histories",
    metadata,
    Column("account", Text, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("workflow_type", Text, nullable=False),
    Column("order_id", Text),
    Column("ending", Text, nullable=False),
    Column("events", Integer, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    time("closed_at"),
    Column("location", Text),
    Column("packed", LargeBinary),
    Column("archived_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    CheckConstraint("(location IS NULL) <> (packed IS NULL)", name="is_kept_in_one_place"),
    Index("archived_histories_by_order", "account", "order_id"),
    Index("archived_histories_by_end", "closed_at", "run_id"),
)
"""No foreign key to the order: a history outlives what a retention policy takes away."""

archive_due = Table(
    "archive_due",
    metadata,
    Column("account", Text, primary_key=True),
    Column("workflow_id", Text, primary_key=True),
    Column("order_id", Text),
    Column("standing", Boolean, nullable=False, server_default=text("false")),
    Column("changes", Integer, nullable=False, server_default=text("0")),
    Column("since", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("next_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    time("gone_at", nullable=True),
    Index("archive_due_next", "next_at", postgresql_where=text("gone_at IS NULL")),
)
"""Written by a trigger when an order is finalized, in the same statement: the order's path gets no round trip more."""
