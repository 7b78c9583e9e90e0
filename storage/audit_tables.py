"""Tables of the audit log. Only the database writes entries, by triggers; it refuses to change or delete a row of them.

What is hashed, and how, is in `domain/audit.py`; the triggers are in migration 0013.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
)

from storage.tables import Document, metadata

audit_entry = Sequence("audit_entry")

audit_events = Table(
    "audit_events",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False),
    Column("chain", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("record", Document, nullable=False),
    Column("evidence", Document),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("chain", "seq", name="one_entry_per_place"),
)
"""`chain` names the subject: `order:{account}/{order_id}`, `kill:{scope}`, `limits`, `approval:...`, `case:...`."""

audit_bodies = Table(
    "audit_bodies",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("body", Text, nullable=False),
)
"""Raw answers of venues, secrets masked, by the hash that an entry's evidence names."""

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("upto", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("chains", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""Covers every entry up to `upto`: `entries` in all, and the heads of the `chains` that grew since the last one."""

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("number", BigInteger, ForeignKey("audit_checkpoints.number"), primary_key=True, autoincrement=False),
    Column("chain", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("entry_id", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""The latest entry of a chain at a checkpoint: it stands for all entries before it."""

__all__ = ["audit_bodies", "audit_checkpoints", "audit_events", "audit_heads"]
