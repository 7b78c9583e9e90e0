"""The ledger in Postgres: SQLAlchemy 2 over asyncpg, one transaction for each step."""
