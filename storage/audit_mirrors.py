"""Whether the tables that people read still say what the audit log was told: each row against its entry."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import Tampering

_FACTS: Final = """
    SELECT e.account || '/' || e.order_id AS of_order, e.seq AS fact, a.entry_id, a.chain, a.seq FROM order_events e
    FULL JOIN (SELECT * FROM audit_events WHERE chain LIKE 'order:%') AS a
        ON a.chain = 'order:' || e.account || '/' || e.order_id AND a.seq = e.seq
    WHERE (a.entry_id IS NULL OR e.seq IS NULL OR (a.record - 'order')::text <> e.document::text
       OR a.evidence::text IS DISTINCT FROM e.evidence::text OR a.action <> e.event_type
       OR a.recorded_at <> e.recorded_at)
       AND (:order ::text IS NULL OR coalesce(a.chain, 'order:' || e.account || '/' || e.order_id) = 'order:' || :order)
    ORDER BY 1, 2
"""
_ORDERS: Final = """
    SELECT o.account || '/' || o.order_id AS of_order, o.seq, o.at_most, o.intent_differs FROM (
        SELECT account, order_id, seq,
            (SELECT max(seq) FROM audit_events WHERE chain = 'order:' || account || '/' || order_id) AS at_most,
            (SELECT (record->'order')::text <> audit_intent(document)::text OR orders.account <> document->>'account'
                OR orders.idempotency_key IS DISTINCT FROM document->>'idempotency_key' FROM audit_events
            WHERE chain = 'order:' || account || '/' || order_id AND seq = 1) AS intent_differs
        FROM orders WHERE :order ::text IS NULL OR account || '/' || order_id = :order
    ) AS o WHERE o.at_most IS DISTINCT FROM o.seq OR o.intent_differs ORDER BY 1
"""
_FILLS: Final = """
    SELECT f.trade_id, f.of_order, e.of_order AS of_fact, e.seq FROM (
        SELECT *, account || '/' || order_id AS of_order FROM fills
        WHERE :order ::text IS NULL OR account || '/' || order_id = :order
    ) AS f FULL JOIN (
        SELECT account || '/' || order_id AS of_order, seq, account, document->'fill' AS fill FROM order_events
        WHERE document ? 'fill' AND (:order ::text IS NULL OR account || '/' || order_id = :order)
    ) AS e ON e.of_order = f.of_order AND e.fill->>'symbol' = f.symbol
        AND e.fill->>'venue_order_id' = f.venue_order_id AND e.fill->>'trade_id' = f.trade_id
    WHERE e.fill IS NULL OR f.trade_id IS NULL OR (e.fill->>'last_qty')::numeric <> f.last_qty
       OR (e.fill->>'last_px')::numeric <> f.last_px OR (e.fill->>'ts_event')::timestamptz <> f.ts_event
       OR (e.fill->>'commission')::numeric IS DISTINCT FROM f.commission
       OR e.fill->>'commission_asset' IS DISTINCT FROM f.commission_asset
       OR e.fill->>'liquidity_side' IS DISTINCT FROM f.liquidity_side
    ORDER BY 2, 3
"""
_ROWS: Final = """
    SELECT t.key AS key, a.entry_id, a.chain, a.seq, a.key AS told FROM (
        SELECT {key}::text AS key, (to_jsonb(whole_row) - '{secret}')::text AS image FROM {table} AS whole_row
    ) AS t FULL JOIN (
        SELECT DISTINCT ON (record->>'{key}') record->>'{key}' AS key, record::text AS image, entry_id, chain, seq
        FROM audit_events WHERE chain LIKE '{prefix}%' AND action LIKE '{table}.%'
        ORDER BY record->>'{key}', entry_id DESC
    ) AS a ON a.key = t.key WHERE a.image IS DISTINCT FROM t.image ORDER BY 1, 2
"""
_SOURCES: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("kill_events", "event_id", "kill:", ""),
    ("limit_sets", "version", "limits", ""),
    ("approvals", "approval_id", "approval:", ""),
    ("cases", "case_id", "case:", ""),
    ("api_keys", "key_id", "key:", "digest"),
)
"""Tables that `audit_row` chains: their key, what their chains begin with, and the column that the log leaves out."""
_TRIGGERS: Final = """
    SELECT expected.name, own.tgenabled::text AS state FROM unnest(:names ::text[]) AS expected (name)
    LEFT JOIN pg_trigger own ON own.tgname = expected.name WHERE own.tgenabled IS DISTINCT FROM 'O' ORDER BY 1
"""
_EXPECTED: Final = (
    "audit_events_chained",
    "order_events_audited",
    *(f"{source[0]}_audited" for source in _SOURCES),
    *(f"{table}_append_only" for table in ("order_events", "fills", "kill_events", "limit_sets")),
    *(f"audit_{table}_append_only" for table in ("events", "bodies", "checkpoints", "heads")),
)
_BODIES: Final = """
    WITH named AS (
        SELECT DISTINCT evidence->'answer'->>'body_sha256' AS hash FROM audit_events
        WHERE evidence->'answer' ? 'body_sha256'
    ), kept AS (
        SELECT encode(hash, 'hex') AS hash, hash = sha256(convert_to(body, 'UTF8')) AS is_true FROM audit_bodies
    )
    SELECT coalesce(kept.hash, named.hash) AS hash, kept.hash IS NOT NULL AS there
    FROM kept FULL JOIN named ON named.hash = kept.hash
    WHERE kept.hash IS NULL OR named.hash IS NULL OR NOT kept.is_true ORDER BY 1
"""


async def differences(connection: AsyncConnection, order: str | None) -> list[Tampering]:
    """Return the rows that do not say what the log was told; with `order`, only what belongs to `account/order_id`."""
    found = await _facts(connection, order) + await _orders(connection, order) + await _fills(connection, order)
    if order is None:
        for table, key, prefix, secret in _SOURCES:
            found += await _rows(connection, table=table, key=key, prefix=prefix, secret=secret)
        found += await _bodies(connection)
        found += await _triggers(connection)
    return found


async def _facts(connection: AsyncConnection, order: str | None) -> list[Tampering]:
    found = []
    for row in await connection.execute(text(_FACTS), {"order": order}):
        chain = row.chain or f"order:{row.of_order}"
        seq = row.seq if row.seq is not None else row.fact
        at = f"order={chain.removeprefix('order:')} seq={seq}"
        if row.entry_id is None:
            found.append(Tampering("extra", "order_events", chain, seq, at, "the log was never told of it"))
        elif row.fact is None:
            told = f"the log was told of it, in entry {row.entry_id}"
            found.append(Tampering("missing", "order_events", chain, seq, at, told))
        else:
            told = f"it does not say what entry {row.entry_id} says"
            found.append(Tampering("changed", "order_events", chain, seq, at, told))
    return found


async def _orders(connection: AsyncConnection, order: str | None) -> list[Tampering]:
    found = []
    for row in await connection.execute(text(_ORDERS), {"order": order}):
        chain, at = f"order:{row.of_order}", f"order={row.of_order}"
        if row.intent_differs:
            told = "it is not what was asked for, as the order's first entry has it"
            found.append(Tampering("changed", "orders", chain, 1, at, told))
        else:
            told = f"the order's row counts {row.seq} facts, and the log has them up to {row.at_most or 'none'}"
            found.append(Tampering("missing", "audit_events", chain, row.seq, f"{at} seq={row.seq}", told))
    return found


async def _fills(connection: AsyncConnection, order: str | None) -> list[Tampering]:
    found = []
    for row in await connection.execute(text(_FILLS), {"order": order}):
        of_order = row.of_order or row.of_fact
        kind = "extra" if row.of_fact is None else "missing" if row.of_order is None else "changed"
        told = {"extra": "no fact tells of it", "missing": "a fact tells of it", "changed": "its fact says otherwise"}
        at = f"order={of_order} trade_id={row.trade_id}" if row.trade_id else f"order={of_order} seq={row.seq}"
        found.append(Tampering(kind, "fills", f"order:{of_order}", row.seq, at, told[kind]))
    return found


async def _rows(connection: AsyncConnection, *, table: str, key: str, prefix: str, secret: str) -> list[Tampering]:
    found = []
    query = _ROWS.format(table=table, key=key, prefix=prefix, secret=secret)
    for row in await connection.execute(text(query)):
        at = f"{key}={row.key if row.key is not None else row.told}"
        kind = "extra" if row.entry_id is None else "missing" if row.key is None else "changed"
        told = "the log was never told of it" if kind == "extra" else f"entry {row.entry_id} says otherwise"
        found.append(Tampering(kind, table, row.chain, row.seq, at, told))
    return found


async def _bodies(connection: AsyncConnection) -> list[Tampering]:
    found = []
    for row in await connection.execute(text(_BODIES)):
        kind = "changed" if row.there else "missing"
        told = "no entry names a body with its hash" if row.there else "an entry names it"
        found.append(Tampering(kind, "audit_bodies", None, None, f"hash={row.hash}", told))
    return found


async def _triggers(connection: AsyncConnection) -> list[Tampering]:
    """Name the protections that are switched off, or gone."""
    found = []
    for row in await connection.execute(text(_TRIGGERS), {"names": list(_EXPECTED)}):
        kind, told = ("missing", "it is gone") if row.state is None else ("changed", "it is switched off")
        found.append(Tampering(kind, "pg_trigger", None, None, f"tgname={row.name}", f"{told}: nothing is held by it"))
    return found


__all__ = ["differences"]
