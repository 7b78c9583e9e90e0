"""The notifier's queue: what the ledger says there is to tell, and what has been told to whom.

Nothing is raised where a matter arises: one statement compares what is so in the ledger with what was told. So no step
of an order pays for it, and what happened while no worker ran is told by the next one.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, BIGINT, TEXT
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.alerts import TEXT_MAX, TOLD_FOR_S, Alert, Notice, NoticeState, VaultWord, WatchTerms, backoff_s
from storage.database import in_transaction

LEASE_S: Final = 20
"""A worker that died leaves the watch to another one after this; longer than one round takes."""
CLAIM_S: Final = 60
"""A notice that somebody has taken and not answered for is due again after this; longer than a sending takes."""
BATCH: Final = 20
"""Notices in one message, at most."""

_LEASE: Final = text(
    f"""
    INSERT INTO alert_watches AS w (holder, held_until, held_since)
    VALUES (:holder, clock_timestamp() + interval '{LEASE_S} seconds', clock_timestamp())
    ON CONFLICT (single) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until,
        held_since = CASE WHEN w.holder = excluded.holder AND NOT :started THEN w.held_since
                          ELSE excluded.held_since END
    WHERE w.holder = excluded.holder OR w.held_until < clock_timestamp()
    RETURNING holder
    """
)
_RELEASE: Final = text("UPDATE alert_watches SET held_until = '-infinity' WHERE holder = :holder")

# `once`: an incident with an id of its own is told once, however often it is looked at; a condition may come again.
# `ended_at` is null while it lasts. What is older than our own watch may only have waited for us: see `ripe`.
_FOUND: Final = """
    SELECT CASE code WHEN 'IN_DOUBT' THEN 'ORDER_IN_DOUBT' ELSE code END AS code, 'case:' || case_id AS fingerprint,
           account, order_id,
           account || coalesce(', order ' || order_id, '') || ': ' || (reason->>'text') || coalesce(
               (SELECT ' (' || string_agg(key || '=' || value, ', ' ORDER BY key) || ')'
                FROM jsonb_each_text(reason->'numbers')), '') AS summary,
           opened_at AS started_at, closed_at AS ended_at, resolution, true AS once, true AS ripe
    FROM cases WHERE closed_at IS NULL OR closed_at > (SELECT watched_at FROM alert_watches)
    UNION ALL
    SELECT 'KILL_SWITCH_ON', 'kill:' || scope || ':' || coalesce(event_id, 0), NULL, NULL,
           scope || ': ' || reason || ' (by ' || engaged_by || ', ' || code || ')', engaged_at, NULL, NULL, true, true
    FROM kill_switches
    UNION ALL
    SELECT 'DEADMAN_FIRED', 'deadman:' || scope || ':' || extract(epoch FROM fired_at), NULL, NULL,
           scope || ': no heartbeat for ' || timeout_s || ' s, orders are canceled', fired_at, NULL, NULL, true, true
    FROM deadman_switches WHERE fired_at IS NOT NULL
    UNION ALL
    SELECT 'ORDER_HELD', 'held:' || account || ':' || order_id, account, order_id,
           account || ', order ' || order_id || ' waits for a person: ' || (reason->>'text'),
           asked_at, NULL, NULL, true, true
    FROM approvals WHERE decision IS NULL
    UNION ALL
    SELECT 'FEED_STALE', 'feed:' || account, account, NULL,
           account || ': its feed has not looked for ' || feed_s || ' s or longer', beat_at, NULL, NULL, false,
           held_since + feed_s * interval '1 second' < clock_timestamp()
    FROM account_states, alert_watches, terms
    WHERE account = ANY(:accounts) AND beat_at + feed_s * interval '1 second' < clock_timestamp()
    UNION ALL
    SELECT 'VENUE_SILENT', 'venue:' || account, account, NULL,
           account || ': the venue has not told balances for ' || venue_s || ' s or longer',
           balances_at, NULL, NULL, false, held_since + venue_s * interval '1 second' < clock_timestamp()
    FROM account_states, alert_watches, terms
    WHERE account = ANY(:accounts) AND balances_at + venue_s * interval '1 second' < clock_timestamp()
      AND beat_at + feed_s * interval '1 second' >= clock_timestamp()
    UNION ALL
    SELECT 'RECONCILIATION_LATE', 'reconciliation:' || account, account, NULL,
           account || ': not compared with the venue for ' || reconciled_s || ' s or longer',
           coalesce(reconciled_at, served_since), NULL, NULL, false,
           held_since + reconciled_s * interval '1 second' < clock_timestamp()
    FROM account_states, alert_watches, terms
    WHERE account = ANY(:accounts)
      AND coalesce(reconciled_at, served_since) + reconciled_s * interval '1 second' < clock_timestamp()
    UNION ALL
    SELECT 'VAULT_DOWN', 'vault', NULL, NULL, 'Vault does not take our token, or does not answer',
           clock_timestamp(), NULL, NULL, false, CAST(:vault AS text) = 'down'
    WHERE CAST(:vault AS text) <> 'serves'
"""
_WATCH: Final = text(
    f"""
    WITH terms AS (
        SELECT CAST(:feed_stale_s AS integer) AS feed_s, CAST(:venue_silent_s AS integer) AS venue_s,
            CAST(:reconciliation_late_s AS integer) AS reconciled_s
    ),
    found AS MATERIALIZED ({_FOUND}),
    raised AS (
        INSERT INTO alerts (code, fingerprint, account, order_id, summary, started_at, resolved_at, resolution)
        SELECT code, fingerprint, account, order_id, left(summary, {TEXT_MAX}), started_at, ended_at,
               left(resolution, {TEXT_MAX})
        FROM found
        WHERE ripe AND code <> ALL(:mute) AND NOT EXISTS (
            SELECT FROM alerts WHERE alerts.code = found.code AND alerts.fingerprint = found.fingerprint
               AND (found.once OR alerts.resolved_at IS NULL)
        )
        ON CONFLICT (code, fingerprint) WHERE resolved_at IS NULL DO NOTHING
        RETURNING *
    ),
    resolved AS (
        UPDATE alerts SET resolved_at = coalesce(ended.ended_at, clock_timestamp()),
            resolution = left(ended.resolution, {TEXT_MAX})
        FROM (
            SELECT open.alert_id, found.ended_at, found.resolution FROM alerts AS open
            LEFT JOIN found ON found.code = open.code AND found.fingerprint = open.fingerprint
            WHERE open.resolved_at IS NULL AND open.code <> 'TEST'
              AND (found.fingerprint IS NULL OR found.ended_at IS NOT NULL)
        ) AS ended
        WHERE alerts.alert_id = ended.alert_id
        RETURNING alerts.*
    ),
    queued AS (
        INSERT INTO alert_deliveries (alert_id, state, channel)
        SELECT alert_id, 'firing', channel FROM raised CROSS JOIN unnest(:channels) AS channel
        UNION ALL
        SELECT alert_id, 'resolved', channel FROM raised CROSS JOIN unnest(:channels) AS channel
        WHERE resolved_at IS NOT NULL
        UNION ALL
        SELECT resolved.alert_id, 'resolved', told.channel FROM resolved JOIN alert_deliveries AS told
            ON told.alert_id = resolved.alert_id AND told.state = 'firing'
        ON CONFLICT DO NOTHING
    ),
    noted AS (UPDATE alert_watches SET watched_at = clock_timestamp() - interval '1 minute')
    SELECT * FROM raised UNION ALL SELECT * FROM resolved ORDER BY alert_id
    """
).bindparams(
    bindparam("accounts", type_=ARRAY(TEXT)),
    bindparam("mute", type_=ARRAY(TEXT)),
    bindparam("channels", type_=ARRAY(TEXT)),
)
"""`watched_at` lags by a minute: a transaction that began before us may write what it closes after we have looked."""

_CLAIM: Final = text(
    f"""
    WITH due AS (
        SELECT alert_id, state, channel FROM alert_deliveries AS d
        WHERE channel = :channel AND delivered_at IS NULL AND given_up_at IS NULL AND next_try_at <= clock_timestamp()
          AND NOT (state = 'resolved' AND EXISTS (
              SELECT FROM alert_deliveries AS first WHERE first.alert_id = d.alert_id AND first.channel = d.channel
                AND first.state = 'firing' AND first.delivered_at IS NULL AND first.given_up_at IS NULL
          ))
        ORDER BY alert_id, state LIMIT {BATCH} FOR UPDATE SKIP LOCKED
    ),
    taken AS (
        UPDATE alert_deliveries AS d
        SET attempts = attempts + 1, next_try_at = clock_timestamp() + interval '{CLAIM_S} seconds'
        FROM due WHERE d.alert_id = due.alert_id AND d.state = due.state AND d.channel = due.channel
        RETURNING d.alert_id, d.state, d.attempts
    )
    SELECT alerts.*, taken.state, taken.attempts FROM taken JOIN alerts USING (alert_id) ORDER BY alert_id, taken.state
    """
)
_MINE: Final = """
    FROM unnest(:alert_ids, :states, :waits) AS mine (alert_id, state, wait_s)
    WHERE d.alert_id = mine.alert_id AND d.state = mine.state AND d.channel = :channel AND d.delivered_at IS NULL
"""
_DELIVERED: Final = text(
    f"UPDATE alert_deliveries AS d SET delivered_at = clock_timestamp(), last_error = NULL {_MINE}"
)
_FAILED: Final = text(
    f"""
    UPDATE alert_deliveries AS d SET last_error = :error,
        next_try_at = clock_timestamp() + mine.wait_s * interval '1 second',
        given_up_at = CASE WHEN queued_at + interval '{TOLD_FOR_S} seconds' < clock_timestamp()
                           THEN clock_timestamp() END
    {_MINE} RETURNING given_up_at
    """
)
_ARRAYS: Final = (
    bindparam("alert_ids", type_=ARRAY(BIGINT)),
    bindparam("states", type_=ARRAY(TEXT)),
    bindparam("waits", type_=ARRAY(BIGINT)),
)


class SqlAlertStore:
    """Implements `domain.alerts.AlertStore` over Postgres. Times are the database's: workers' clocks may differ."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def take_lease(self, holder: str, *, started: bool) -> bool:
        """Take or keep the turn to watch."""
        return len(await self._rows(_LEASE, holder=holder, started=started)) == 1

    async def release_lease(self, holder: str) -> None:
        """Leave the turn to another process at once."""
        await in_transaction(self._engine, lambda connection: connection.execute(_RELEASE, {"holder": holder}))

    async def watch(self, terms: WatchTerms, *, channels: Sequence[str], vault: VaultWord) -> Sequence[Alert]:
        """Write what began and what is over, and queue the notices."""
        figures = terms.model_dump()
        figures |= {"accounts": list(terms.accounts), "mute": list(terms.mute), "channels": list(channels)}
        return [_alert(row) for row in await self._rows(_WATCH, vault=vault.value, **figures)]

    async def claim(self, channel: str) -> Sequence[Notice]:
        """Take what is due for a channel."""
        rows = await self._rows(_CLAIM, channel=channel)
        return [Notice(alert=_alert(row), state=NoticeState(row.state), attempts=row.attempts) for row in rows]

    async def delivered(self, channel: str, notices: Sequence[Notice]) -> None:
        """Note that the receiver has taken them."""
        statement = _DELIVERED.bindparams(*_ARRAYS)
        await in_transaction(
            self._engine, lambda connection: connection.execute(statement, {"channel": channel, **_keys(notices)})
        )

    async def failed(self, channel: str, notices: Sequence[Notice], *, error: str) -> int:
        """Note when each is tried again; return how many were given up."""
        rows = await self._rows(_FAILED.bindparams(*_ARRAYS), channel=channel, error=error[:TEXT_MAX], **_keys(notices))
        return sum(row.given_up_at is not None for row in rows)

    async def _rows(self, statement: Any, **values: Any) -> Sequence[Row[Any]]:
        async def read(connection: AsyncConnection) -> Sequence[Row[Any]]:
            return (await connection.execute(statement, values)).all()

        return await in_transaction(self._engine, read)


def _keys(notices: Sequence[Notice]) -> dict[str, list[Any]]:
    return {
        "alert_ids": [notice.alert.alert_id for notice in notices],
        "states": [notice.state.value for notice in notices],
        "waits": [backoff_s(notice.attempts) for notice in notices],
    }


def _alert(row: Row[Any]) -> Alert:
    return Alert(**{name: getattr(row, name) for name in Alert.model_fields})


__all__ = ["BATCH", "CLAIM_S", "LEASE_S", "SqlAlertStore"]
