"""What the fleet has spent of its venues' budgets, and until when a venue wants no request."""

from sqlalchemy import BigInteger, Column, DateTime, Table, Text

from storage.tables import Document, metadata

rate_budgets = Table(
    "rate_budgets",
    metadata,
    Column("account", Text, primary_key=True),
    Column("budget", Text, primary_key=True),
    Column("whole", BigInteger, nullable=False),
    Column("window_ms", BigInteger, nullable=False),
    Column("document", Document, nullable=False),
)
"""One row for each budget of an account: whoever spends from it locks it. The document is `domain.rate_budget.Shared`;
amounts are thousandths of a unit."""

rate_pauses = Table(
    "rate_pauses",
    metadata,
    Column("account", Text, primary_key=True),
    Column("paused_until", DateTime(timezone=True), nullable=False),
    Column("why", Text, nullable=False),
    Column("told_by", Text, nullable=False),
)
