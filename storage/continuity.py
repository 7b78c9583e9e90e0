"""Whether this is the ledger as we left it. A copy restored from an earlier moment has forgotten what was sent.

Every round of an account's feed counts a beat in the ledger, and tells Temporal the count. A ledger whose count is
below what Temporal remembers has lost facts. Whether it has is not known yet when its server has just started: until
the feed has compared, `order_rows` and the last look refuse to change anything of the account.
"""

from sqlalchemy import ColumnElement, ScalarSelect, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from domain.comparison import Beat
from domain.errors import StoreUnavailable
from domain.observing import UNSERVED_AFTER_S
from storage.tables import account_states

_STARTED = func.pg_postmaster_start_time()
_BEAT = text(
    f"""
    INSERT INTO account_states AS s (account, beat, verified_start, beat_at, served_since)
    SELECT :account, 1, pg_postmaster_start_time(), now(), now() WHERE :known = 0
        OR EXISTS (SELECT FROM account_states WHERE account = :account)
    ON CONFLICT (account) DO UPDATE SET beat = s.beat + 1, verified_start = pg_postmaster_start_time(),
        beat_at = now(),
        served_since = CASE
            WHEN s.beat_at > now() - interval '{UNSERVED_AFTER_S} seconds' THEN s.served_since ELSE now() END
        WHERE s.beat >= :known
    RETURNING beat, served_since = beat_at AS started_anew
    """
)
_ACCEPT = text(
    """
    INSERT INTO account_states AS s (account, beat, verified_start, beat_at, served_since)
    VALUES (:account, :beat, pg_postmaster_start_time(), clock_timestamp(), clock_timestamp())
    ON CONFLICT (account) DO UPDATE SET beat = greatest(s.beat, excluded.beat),
        verified_start = excluded.verified_start, beat_at = excluded.beat_at, served_since = excluded.served_since
    """
)
_DISTRUST = text("UPDATE account_states SET beat = -1, verified_start = '-infinity' WHERE account = :account")


_START_ANEW = text("UPDATE account_states SET beat_at = NULL")


async def start_anew(url: str) -> None:
    """Let every account count as started anew: each is reconciled before its first new order."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.begin() as connection:
            await connection.execute(_START_ANEW)
    finally:
        await engine.dispose()


def unverified(account: ColumnElement[str]) -> ScalarSelect[bool]:
    """Return the query for whether the ledger's server has started since the account was last found in order."""
    changed = account_states.c.verified_start != _STARTED
    return select(changed).where(account_states.c.account == account).scalar_subquery()


class FactsMissing(StoreUnavailable):
    """An order is gone that was recorded: the ledger has lost facts, and the account waits until it is repaired."""

    def __init__(self, account: str, order_id: str) -> None:
        super().__init__(f"account {account} had order {order_id}, and the ledger has lost it: it is repaired first")
        self.account = account


async def distrust(connection: AsyncConnection, account: str) -> None:
    """Let the feed find this ledger behind in its next round, and nothing of the account be changed until then."""
    await connection.execute(_DISTRUST, {"account": account})


def refuse_if(is_unverified: bool | None) -> None:
    """Raise `StoreUnavailable` for an account whose ledger is not compared yet."""
    if is_unverified:
        raise StoreUnavailable(
            "the ledger's server has started anew: it is first compared with what Temporal remembers"
        )


async def beat(connection: AsyncConnection, account: str, *, known: int) -> Beat | None:
    """Count one beat; `None` for a ledger that is behind `known`: it has lost facts."""
    row = (await connection.execute(_BEAT, {"account": account, "known": known})).one_or_none()
    return Beat(count=row.beat, started_anew=row.started_anew) if row is not None else None


async def accept(connection: AsyncConnection, account: str, *, beat: int) -> None:
    """Take the ledger for the truth again, its losses repaired; the account is to be reconciled before new orders."""
    await connection.execute(_ACCEPT, {"account": account, "beat": beat})
