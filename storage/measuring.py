"""Fills the table `performance` from the ledger's facts: one statement measures every ended order that needs it.

It may run anywhere, any number of times: the same facts give the same row. An order is measured once it is final, once
more when the marks of its last minute are in, and whenever a late fact changes it. Nothing on the way of an order waits
for this. What the marks said that are thinned meanwhile is kept. docs/execution-quality.md defines the figures.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.database import in_transaction
from storage.performance_tables import performance

ORDERS_A_ROUND: Final = 200
MARK_WITHIN_S: Final = 60
"""How far a mark may be, in seconds, from the trade or the end that it is compared with."""
SETTLED_S: Final = 90
"""Seconds after which the marks beside an order's last fact are in: accounts are valued twice a minute."""
UNFINISHED_S: Final = 60
"""An order that ended so long ago is measured, whether its workflow has written the final fact or not."""
LOOKED_BACK: Final = timedelta(minutes=10)
"""Orders are found by the time of their latest fact; commits that come later than others may be this late."""
_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LOCK: Final = 0x766F6C65786D
"""Key of the advisory lock: one process measures at a time, the others have nothing to do."""


def _per(numerator: str, denominator: str) -> str:
    """Divide with 60 digits, and round to the ledger's 18; NULL where it is not known or does not fit."""
    return _fit(f"(({numerator})::numeric(300, 60) / nullif({denominator}, 0))")


def _fit(figure: str) -> str:
    return f"CASE WHEN abs({figure}) < 1e18 THEN round({figure}, 18) END"


def _price(row: str) -> str:
    """Write what a unit was worth: the middle, else the last trade, else the one side there was."""
    return (
        f"CASE WHEN {row}.bid > 0 AND {row}.ask > 0 THEN ({row}.bid + {row}.ask) * 0.5"
        f" ELSE coalesce(nullif({row}.last, 0), nullif({row}.bid, 0), nullif({row}.ask, 0)) END"
    )


def _us(begin: str, end: str) -> str:
    return f"(extract(epoch FROM {end} - {begin}) * 1000000)::bigint"


_NEAREST: Final = f"""
    SELECT * FROM (
        SELECT {{figure}} AS price, m.asked_at AS at FROM marks m
        WHERE m.mode = d.mode AND m.symbol = d.symbol AND m.account = d.account
          AND m.minute BETWEEN {{at}} - interval '{MARK_WITHIN_S + 60} seconds'
            AND {{at}} + interval '{MARK_WITHIN_S} seconds'
        {{others}}
    ) AS told WHERE price > 0 AND at BETWEEN {{at}} - interval '{MARK_WITHIN_S} seconds'
        AND {{at}} + interval '{MARK_WITHIN_S} seconds'
    ORDER BY abs(extract(epoch FROM at - {{at}})), at LIMIT 1
"""
_DUE: Final = f"""
    SELECT o.*, o.document->>'mode' AS mode, o.document->'ticket' AS ticket,
        split_part(o.symbol, '/', 1) AS base, split_part(o.symbol, '/', 2) AS quote,
        CASE WHEN o.document->'ticket'->>'side' = 'buy' THEN 1 ELSE -1 END AS sign
    FROM unnest(:accounts ::text[], :sinces ::timestamptz[]) AS asked (account, since), LATERAL (
        SELECT * FROM orders o
        WHERE o.account = asked.account AND NOT o.is_open AND o.status <> 'DENIED' AND o.updated_at >= asked.since
          AND ((o.document->>'finalized')::boolean
            OR o.updated_at < :now ::timestamptz - interval '{UNFINISHED_S} seconds')
          AND (:anew OR NOT EXISTS (
            SELECT FROM performance p
            WHERE p.account = o.account AND p.order_id = o.order_id AND p.placed_at = o.created_at AND p.seq = o.seq
              AND (p.measured_at >= o.updated_at + interval '{SETTLED_S} seconds'
                   OR o.updated_at + interval '{SETTLED_S} seconds' > :now ::timestamptz)))
        ORDER BY o.updated_at, o.order_id LIMIT :limit
    ) AS o
"""
_EVENTS: Final = """
    SELECT max(recorded_at) FILTER (WHERE event_type = 'ADMITTED') AS admitted_at,
        max(recorded_at) FILTER (WHERE event_type = 'TRIGGERED') AS triggered_at,
        min(recorded_at) FILTER (WHERE event_type = 'SUBMITTED') AS submitted_at,
        min(recorded_at) FILTER (WHERE event_type IN ('ACCEPTED', 'REJECTED', 'PARTIALLY_FILLED', 'FILLED', 'CANCELED',
            'EXPIRED')) AS answered_at,
        min(recorded_at) FILTER (WHERE event_type IN ('FILLED', 'REJECTED', 'CANCELED', 'EXPIRED')) AS ended_at,
        min(recorded_at) FILTER (WHERE event_type = 'FINALIZED') AS finalized_at,
        (array_agg(document->'arrival' ORDER BY seq DESC) FILTER (WHERE event_type = 'ADMITTED'))[1] AS arrival
    FROM order_events e WHERE e.account = d.account AND e.order_id = d.order_id
"""
_FILLS: Final = f"""
    SELECT count(*) AS fills, coalesce(sum(f.last_qty), 0) AS quantity,
        coalesce(sum(f.last_qty * f.last_px), 0) AS cost,
        CASE WHEN bool_and(fee IS NOT NULL) THEN sum(fee) ELSE CASE WHEN count(*) = 0 THEN 0 END END AS fees,
        CASE WHEN bool_and(mid.price IS NOT NULL) THEN sum(f.last_qty * mid.price) END AS at_mid,
        min(f.ts_event) AS first_at, max(f.ts_event) AS last_at,
        min(f.recorded_at) AS first_recorded_at, max(f.recorded_at) AS last_recorded_at
    FROM fills f
    LEFT JOIN fee_prices x ON x.account = f.account AND x.symbol = f.symbol AND x.venue_order_id = f.venue_order_id
        AND x.trade_id = f.trade_id
    CROSS JOIN LATERAL (SELECT CASE
        WHEN f.commission = 0 OR f.commission_asset = d.quote THEN f.commission
        WHEN f.commission_asset = d.base THEN f.commission * f.last_px ELSE f.commission * x.price END AS fee) AS valued
    LEFT JOIN LATERAL ({
    _NEAREST.format(
        figure="CASE WHEN m.bid > 0 AND m.ask > 0 THEN (m.bid + m.ask) * 0.5 END",
        at="f.ts_event",
        others="UNION ALL SELECT arrived.middle, arrived.told_at",
    )
}) AS mid ON true
    WHERE f.account = d.account AND f.order_id = d.order_id
"""
_TOLD: Final = f"""
    SELECT {_price("told")} AS price, CASE WHEN told.bid > 0 AND told.ask > 0 THEN (told.bid + told.ask) * 0.5 END
        AS middle, told.ask - told.bid AS spread, told.told_at, told.source
    FROM jsonb_to_record(coalesce(e.arrival, '{{}}')) AS told (bid numeric, ask numeric, last numeric,
        told_at timestamptz, source text)
"""
_MEASURED: Final = f"""
    SELECT d.*, e.*, f.fills, f.cost, f.fees, f.at_mid, f.first_at, f.last_at, f.first_recorded_at, f.last_recorded_at,
        f.quantity AS filled, arrived.middle, arrived.spread,
        CASE WHEN d.ticket->>'order_type' NOT IN ('stop', 'stop-limit') THEN arrived.price
            WHEN d.document->'triggered' IS NOT NULL THEN (d.document->'triggered'->>'price')::numeric
            WHEN f.fills > 0 THEN (d.document->>'trigger_price')::numeric END AS benchmark,
        CASE WHEN d.ticket->>'order_type' IN ('stop', 'stop-limit') THEN 'trigger' ELSE arrived.source END AS source,
        CASE WHEN f.quantity < d.quantity THEN ended.price ELSE 0 END AS end_price,
        (SELECT max(s.recorded_at) FROM order_events s WHERE s.account = d.account AND s.order_id = d.order_id
            AND s.event_type = 'SUBMITTED' AND s.recorded_at <= e.answered_at) AS sent_at
    FROM due d
    CROSS JOIN LATERAL ({_EVENTS}) AS e
    CROSS JOIN LATERAL ({_TOLD}) AS arrived
    CROSS JOIN LATERAL ({_FILLS}) AS f
    LEFT JOIN LATERAL ({
    _NEAREST.format(figure=_price("m"), at="(d.document->>'closed_at')::timestamptz", others="")
}) AS ended ON f.quantity < d.quantity
"""
_PRICED: Final = """
    SELECT measured.*, sign * (cost - benchmark * filled) AS execution,
        CASE WHEN filled >= quantity THEN 0 ELSE sign * (end_price - benchmark) * (quantity - filled)
        END AS opportunity,
        benchmark * filled AS at_arrival, benchmark * quantity AS ordered
    FROM measured
"""
_FIGURES: Final[Mapping[str, str]] = {
    "account": "account",
    "order_id": "order_id",
    "placed_at": "created_at",
    "mode": "mode",
    "venue": "document->>'exchange'",
    "symbol": "symbol",
    "currency": "quote",
    "side": "ticket->>'side'",
    "order_type": "ticket->>'order_type'",
    "strategy": "ticket->>'strategy'",
    "status": "status",
    "seq": "seq",
    "quantity": "quantity",
    "cum_qty": "filled",
    "fill_ratio": _per("filled", "quantity"),
    "fills": "fills",
    "arrival_price": _fit("benchmark"),
    "arrival_source": "CASE WHEN benchmark IS NOT NULL THEN source END",
    "arrival_spread_bps": _per("spread * 10000", "middle"),
    "avg_px": _per("cost", "filled"),
    "mid_price": _per("at_mid", "filled"),
    "notional": _fit("cost"),
    "arrival_notional": _fit("at_arrival"),
    "ordered_notional": _fit("ordered"),
    "slippage_bps": _per("execution * 10000", "at_arrival"),
    "mid_slippage_bps": _per("sign * (cost - at_mid) * 10000", "at_mid"),
    "fees_value": _fit("fees"),
    "execution_cost": _fit("execution"),
    "opportunity_cost": _fit("opportunity"),
    "shortfall": _fit("(execution + opportunity + fees)"),
    "shortfall_bps": _per("(execution + opportunity + fees) * 10000", "ordered"),
    "first_fill_at": "first_at",
    "last_fill_at": "last_at",
    "ended_at": "(document->>'closed_at')::timestamptz",
    "admit_us": _us("created_at", "admitted_at"),
    "send_us": _us("coalesce(triggered_at, admitted_at)", "submitted_at"),
    "venue_us": _us("sent_at", "answered_at"),
    "first_fill_us": _us("coalesce(triggered_at, admitted_at)", "first_recorded_at"),
    "last_fill_us": _us("coalesce(triggered_at, admitted_at)", "last_recorded_at"),
    "persist_us": _us("ended_at", "finalized_at"),
    "order_updated_at": "updated_at",
    "measured_at": ":now ::timestamptz",
}
_FROM_MARKS: Final = ("mid_price", "mid_slippage_bps", "opportunity_cost", "shortfall", "shortfall_bps")
"""What is kept when the marks behind it have been thinned, as long as the order's quantities are the same."""


def _upsert(name: str) -> str:
    if name not in _FROM_MARKS:
        return f"{name} = excluded.{name}"
    same = "(p.cum_qty, p.quantity, p.seq) = (excluded.cum_qty, excluded.quantity, excluded.seq)"
    return f"{name} = coalesce(excluded.{name}, CASE WHEN {same} THEN p.{name} END)"


_MEASURE: Final = text(
    f"""
    WITH due AS MATERIALIZED ({_DUE}), measured AS ({_MEASURED}), priced AS ({_PRICED}), written AS (
        INSERT INTO performance AS p ({", ".join(_FIGURES)}) SELECT {", ".join(_FIGURES.values())} FROM priced
        ON CONFLICT (account, order_id, placed_at) DO UPDATE
        SET {", ".join(_upsert(name) for name in _FIGURES if not performance.c[name].primary_key)}
        RETURNING account, order_updated_at
    )
    SELECT account, count(*) AS orders, max(order_updated_at) AS until FROM written GROUP BY account
    """
)
_KNOWN: Final = text(
    """
    SELECT asked.account, (SELECT max(order_updated_at) FROM performance p WHERE p.account = asked.account) AS until
    FROM unnest(:accounts ::text[]) AS asked (account)
    """
)


class Measuring:
    """Measures the ended orders of some accounts, round by round."""

    def __init__(self, engine: AsyncEngine, accounts: tuple[str, ...]) -> None:
        self._engine = engine
        self._accounts = accounts
        self._until: dict[str, datetime] | None = None

    async def round(self, *, now: datetime) -> int:
        """Measure up to some hundred orders that need it; return how many. Raises `StoreUnavailable`."""

        async def work(connection: AsyncConnection) -> Mapping[str, tuple[int, datetime]] | None:
            if not (await connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK})).scalar():
                return None
            if self._until is None:
                known = await connection.execute(_KNOWN, {"accounts": list(self._accounts)})
                self._until = {row.account: row.until or _EVER for row in known}
            return await _measure(connection, {name: at - LOOKED_BACK for name, at in self._until.items()}, now=now)

        measured = await in_transaction(self._engine, work)
        if measured is None or self._until is None:
            self._until = None  # somebody else goes on from where he is
            return 0
        for account, (_, until) in measured.items():
            self._until[account] = max(until, self._until[account])
        return sum(orders for orders, _ in measured.values())


async def measure_anew(engine: AsyncEngine, accounts: tuple[str, ...], *, since: datetime, now: datetime) -> int:
    """Measure all orders whose latest fact is not older than that, whatever was measured before; return how many."""
    since_of, total = dict.fromkeys(accounts, since), 0
    while since_of:

        async def work(
            connection: AsyncConnection, since_of: Mapping[str, datetime] = since_of
        ) -> Mapping[str, tuple[int, datetime]]:
            return await _measure(connection, since_of, now=now, anew=True)

        measured = await in_transaction(engine, work)
        total += sum(orders for orders, _ in measured.values())
        since_of = {
            name: until
            for name, (orders, until) in measured.items()
            if orders == ORDERS_A_ROUND and until > since_of[name]
        }
    return total


async def _measure(
    connection: AsyncConnection, sinces: Mapping[str, datetime], *, now: datetime, anew: bool = False
) -> Mapping[str, tuple[int, datetime]]:
    key = {"accounts": list(sinces), "sinces": list(sinces.values()), "now": now, "anew": anew}
    rows = await connection.execute(_MEASURE, {**key, "limit": ORDERS_A_ROUND})
    return {row.account: (row.orders, row.until) for row in rows}
