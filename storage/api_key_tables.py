"""The table of API keys: rows that change once, when a key is revoked, and are never deleted."""

from sqlalchemy import Column, DateTime, Index, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY

from storage.tables import metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text()), nullable=False),
    Column("accounts", ARRAY(Text())),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_by", Text),
    Column("revoked_at", DateTime(timezone=True)),
    Column("revoked_because", Text),
)
Index("api_keys_usable", api_keys.c.name, postgresql_where=api_keys.c.revoked_at.is_(None))
