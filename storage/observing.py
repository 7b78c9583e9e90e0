"""How the agent is doing, as the ledger knows it; and what workers tell it of their venues."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.observing import AccountSeen, LedgerState, OrdersSeen, Sighting, VenueSeen
from domain.rate_budget import Count, Shared
from storage.database import in_transaction

_ERROR_MAX: Final = 300


def _age(moment: str) -> str:
    """Return the SQL for how long ago a moment was, by the ledger's clock, in seconds."""
    age = f"greatest(extract(epoch FROM clock_timestamp() - {moment}), 0)::float8"
    return f"CASE WHEN {moment} IS NOT NULL THEN {age} END"  # greatest passes over NULL


def _moment(ms_ago: str) -> str:
    """Return the SQL for a moment so many milliseconds ago; NULL for never."""
    return f"clock_timestamp() - CAST(:{ms_ago} AS bigint) * interval '1 millisecond'"


_VENUE: Final = f"""
    {_age("v.answered_at")} AS answer_age_s, {_age("v.failed_at")} AS failure_age_s, v.error,
    {_age("v.measured_at")} AS measure_age_s, v.latency_ms, v.clock_skew_ms
"""
_TELL: Final = text(
    f"""
    INSERT INTO venue_states AS v (account, answered_at, failed_at, error, measured_at, latency_ms, clock_skew_ms,
        followed_at, told_at, told_by)
    VALUES (:account, {_moment("answered_ms_ago")}, {_moment("failed_ms_ago")}, :error, {_moment("measured_ms_ago")},
        :latency_ms, :clock_skew_ms, {_moment("followed_ms_ago")}, clock_timestamp(), :told_by)
    ON CONFLICT (account) DO UPDATE SET
        answered_at = greatest(v.answered_at, excluded.answered_at),
        failed_at = greatest(v.failed_at, excluded.failed_at),
        error = CASE WHEN v.failed_at > excluded.failed_at THEN v.error ELSE coalesce(excluded.error, v.error) END,
        measured_at = greatest(v.measured_at, excluded.measured_at),
        latency_ms = CASE WHEN v.measured_at > excluded.measured_at THEN v.latency_ms
            ELSE coalesce(excluded.latency_ms, v.latency_ms) END,
        clock_skew_ms = CASE WHEN v.measured_at > excluded.measured_at THEN v.clock_skew_ms
            ELSE coalesce(excluded.clock_skew_ms, v.clock_skew_ms) END,
        followed_at = greatest(v.followed_at, excluded.followed_at),
        told_at = excluded.told_at, told_by = excluded.told_by
    RETURNING {_VENUE}
    """
)
_ACCOUNTS: Final = text(
    f"""
    SELECT coalesce(a.account, v.account) AS account, {_VENUE},
        {_age("v.followed_at")} AS feed_age_s, {_age("a.beat_at")} AS beat_age_s,
        {_age("a.reconciled_at")} AS reconciliation_age_s,
        coalesce(a.reconciled_at >= a.served_since AND a.balances_at IS NOT NULL, false) AS reconciled,
        greatest(extract(epoch FROM p.paused_until - clock_timestamp()), 0)::float8 AS pause_s
    FROM account_states a FULL JOIN venue_states v ON v.account = a.account
    LEFT JOIN rate_pauses p ON p.account = coalesce(a.account, v.account)
    """
)
_ORDERS: Final = text("SELECT account, status AS name, count(*) AS figure FROM orders WHERE is_open GROUP BY 1, 2")
_IN_DOUBT_SINCE: Final = "coalesce((document->'doubt'->>'since')::timestamptz, updated_at)"
_DOUBTS: Final = text(
    f"SELECT account, max({_age(_IN_DOUBT_SINCE)}) AS figure "
    "FROM orders WHERE is_at_venue AND status = 'IN_DOUBT' GROUP BY 1"
)
_HELD: Final = text(
    f"SELECT account, max({_age('updated_at')}) AS figure FROM orders WHERE is_open AND status = 'HELD' GROUP BY 1"
)
_CASES: Final = text(
    "SELECT account, code AS name, count(*) AS figure FROM cases WHERE closed_at IS NULL GROUP BY 1, 2"
)
_RESERVED: Final = text("SELECT account, asset AS name, reserved AS figure FROM balances WHERE reserved > 0")
_BUDGETS: Final = text(
    "SELECT account, budget, whole, window_ms, document::text AS document, "
    "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms FROM rate_budgets ORDER BY account, budget"
)
_SWITCHES: Final = text("SELECT scope FROM kill_switches ORDER BY scope")
_NOW: Final = text("SELECT extract(epoch FROM clock_timestamp())::float8")


class SqlSightings:
    """Implements `domain.observing.Sightings` over Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def tell(self, account: str, seen: Sighting, *, told_by: str) -> VenueSeen:
        """Add what this process saw: the later word counts."""
        values = {"account": account, "told_by": told_by, **seen.model_dump()}
        values["error"] = seen.error[:_ERROR_MAX] if seen.error is not None else None

        async def tell(connection: AsyncConnection) -> VenueSeen:
            return _venue((await connection.execute(_TELL, values)).one())

        return await in_transaction(self._engine, tell)


class SqlLedgerObserver:
    """Implements `domain.observing.LedgerObserver` over Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def look_at_accounts(self) -> Mapping[str, AccountSeen]:
        """Return every account's venue, feed and reconciliation."""
        return await in_transaction(self._engine, _accounts)

    async def look(self) -> LedgerState:
        """Return all of it."""

        async def look(connection: AsyncConnection) -> LedgerState:
            return LedgerState(
                accounts=await _accounts(connection),
                orders=await _orders(connection),
                kill_switches=tuple((await connection.execute(_SWITCHES)).scalars()),
                now_s=(await connection.execute(_NOW)).scalar_one(),
            )

        return await in_transaction(self._engine, look)


async def _accounts(connection: AsyncConnection) -> Mapping[str, AccountSeen]:
    return {row.account: _account(row) for row in await connection.execute(_ACCOUNTS)}


def _account(row: Row[tuple[Any, ...]]) -> AccountSeen:
    return AccountSeen(
        account=row.account,
        venue=_venue(row).model_copy(update={"pause_s": row.pause_s or 0}),
        feed_age_s=row.feed_age_s,
        beat_age_s=row.beat_age_s,
        reconciliation_age_s=row.reconciliation_age_s,
        reconciled=row.reconciled,
    )


def _venue(row: Row[tuple[Any, ...]]) -> VenueSeen:
    return VenueSeen(
        answer_age_s=row.answer_age_s,
        failure_age_s=row.failure_age_s,
        error=row.error,
        measure_age_s=row.measure_age_s,
        latency_ms=row.latency_ms,
        clock_skew_ms=row.clock_skew_ms,
    )


async def _orders(connection: AsyncConnection) -> Mapping[str, OrdersSeen]:
    named: dict[str, dict[str, Any]] = {}
    for field, query in (("by_status", _ORDERS), ("cases", _CASES), ("reserved", _RESERVED)):
        for row in await connection.execute(query):
            named.setdefault(row.account, {}).setdefault(field, {})[row.name] = row.figure
    for field, query in (("oldest_doubt_age_s", _DOUBTS), ("oldest_held_age_s", _HELD)):
        for row in await connection.execute(query):
            named.setdefault(row.account, {})[field] = row.figure
    for account, counts in (await _budgets(connection)).items():
        named.setdefault(account, {})["budgets"] = tuple(counts)
    return {account: OrdersSeen.model_validate(figures) for account, figures in named.items()}


async def _budgets(connection: AsyncConnection) -> Mapping[str, Sequence[Count]]:
    found: dict[str, list[Count]] = {}
    for row in await connection.execute(_BUDGETS):
        used = Shared.model_validate_json(row.document).counting(row.now_ms)
        count = Count(name=row.budget, limit=row.whole, window_ms=row.window_ms, used=used)
        found.setdefault(row.account, []).append(count)
    return found
