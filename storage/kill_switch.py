"""The kill switch: a row per scope, read inside the transactions that admit and that let bytes leave.

From the moment `engage` returns, no request of the scope leaves. Three things together make it so:

1. The last look (`storage/attempts.py`) reads the switches `FOR SHARE`, and `engage` locks their table against that
   before it writes. So every last look either ended before the switch was on, or sees it.
2. Who passed before is in the journal as LEFT. `engage` waits until each of them has said what came of its send.
3. Who cannot say so any more cannot send either: the gate at the connection lets nothing through that was signed more
   than five seconds ago (`exchanges/ccxt_transport.py`). So it waits for `IN_FLIGHT_MAX_S` at most.
"""

import asyncio
import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Text, any_, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.errors import LiftNotConfirmed, SwitchNotOn, SwitchOfSettings
from domain.kill import (
    LIFT_VALID_S,
    MANUAL,
    SETTINGS,
    Engaged,
    Engagement,
    KillEvent,
    KillEventKind,
    LiftAsked,
    Switch,
)
from domain.limits import scopes_of
from domain.order import Order
from domain.trips import Trip
from storage.database import in_transaction
from storage.kill_tables import kill_events, kill_exemptions, kill_switches

IN_FLIGHT_MAX_S: Final = 6.0
"""A second more than the gate at the connection lets an order leave after it was signed."""
IN_FLIGHT_POLL_S: Final = 0.02
SELF: Final = "volex"
"""Who engages what no person asked for."""

SCOPES_OF_ROW: Final = """
    ARRAY['firm', 'settings', 'account:' || orders.account, 'symbol:' || orders.symbol,
        'strategy:' || (orders.document->'ticket'->>'strategy'), 'key:' || (orders.document->>'requested_by')]
"""
"""`domain.limits.scopes_of` of a row of `orders`, in SQL; what the order does not have is NULL, and matches nothing."""
SWITCHED_OFF: Final = f"""
    NOT EXISTS (
        SELECT FROM kill_switches
        WHERE kill_switches.scope = ANY({SCOPES_OF_ROW})
          AND (kill_switches.scope = 'settings' OR NOT EXISTS (
              SELECT FROM kill_exemptions
              WHERE kill_exemptions.account = orders.account AND kill_exemptions.order_id = orders.order_id
          ))
        FOR SHARE OF kill_switches
    )
"""
"""Condition on a row of `orders`: no switch stops it. Waits for a switch that is being pulled."""
_AGAINST_LAST_LOOKS = text("LOCK TABLE kill_switches IN EXCLUSIVE MODE")
"""Waits until every last look that has read the switches is over, and lets the next ones wait; not for a backup."""
_IN_FLIGHT = text(
    f"""
    SELECT count(*) FROM orders
    JOIN attempts ON attempts.account = orders.account AND attempts.order_id = orders.order_id
        AND attempts.attempt = (orders.document->>'attempt')::integer
    WHERE orders.is_at_venue AND orders.status IN ('SUBMITTED', 'IN_DOUBT') AND :scope = ANY({SCOPES_OF_ROW})
      AND attempts.state = 'LEFT' AND attempts.left_at > clock_timestamp() - interval '30 seconds'
      AND coalesce(attempts.outcome->'reason'->>'code' IN ('SENDER_LOST', 'OUTCOME_UNKNOWN'), attempts.outcome IS NULL)
      AND NOT EXISTS (
          SELECT FROM kill_exemptions
          WHERE kill_exemptions.account = orders.account AND kill_exemptions.order_id = orders.order_id
      )
    """
)
"""Requests that have passed their last look, and whose sender has not said what came of it: what others say of them
is no word of the sender's. The time looks back far enough for clocks that differ."""


def reason_of(
    scopes: ColumnElement[Any], *, account: ColumnElement[str], order_id: ColumnElement[str]
) -> Select[tuple[str]]:
    """Return the query for why an order must not be admitted: no row while no switch stops it.

    Parameters
    ----------
    scopes
        `scopes_of` the order as an array: `bindparam("scopes", type_=ARRAY(Text()))`.
    """
    told = kill_switches.c.reason + " (" + kill_switches.c.scope + ")"
    exempt = select(kill_exemptions.c.order_id).where(
        kill_exemptions.c.account == account, kill_exemptions.c.order_id == order_id
    )
    mine = kill_switches.c.scope == any_(scopes)
    stops = or_(kill_switches.c.scope == SETTINGS, mine & ~exempt.exists())
    return select(told).where(stops).order_by(kill_switches.c.scope).limit(1)


async def why_stopped(connection: AsyncConnection, order: Order) -> str | None:
    """Say why nothing of an order may be sent now; `None` while no switch stops it."""
    query = reason_of(
        literal(list(scopes_of(order)), ARRAY(Text())), account=literal(order.account), order_id=literal(order.order_id)
    )
    row = (await connection.execute(query)).first()
    return str(row[0]) if row is not None else None


async def engage(
    engine: AsyncEngine,
    scope: str,
    *,
    reason: str,
    by: str = SELF,
    code: str = MANUAL,
    numbers: dict[str, str] | None = None,
    cancel_orders: bool = False,
    flatten: bool = False,
) -> Engaged:
    """Switch on. From the moment this returns no order of the scope is admitted and no byte of one leaves.

    Raises `StoreUnavailable`; whether the switch is on is then not known: ask again.
    """
    figures = {"scope": scope, "reason": reason, "code": code, "engaged_by": by}
    wanted = {"cancel_orders": cancel_orders or flatten, "flatten": flatten}
    switch, fresh = await in_transaction(
        engine, lambda connection: _switch_on(connection, figures, wanted, numbers or {})
    )
    in_flight, unanswered = await _until_nothing_flies(engine, scope)
    return Engaged(switch=switch, fresh=fresh, in_flight=in_flight, unanswered=unanswered)


async def trip(engine: AsyncEngine, tripped: Trip) -> Engaged | None:
    """Switch on because of what the agent itself has found; `None` when that scope is switched on already.

    Never call it inside a transaction: it waits for those that are about to send.
    """
    on = select(kill_switches.c.scope).where(kill_switches.c.scope == tripped.scope)
    found = await in_transaction(engine, lambda connection: connection.execute(on))
    if found.first() is not None:
        return None
    reason = tripped.reason
    return await engage(
        engine,
        tripped.scope,
        reason=reason.text,
        code=reason.code,
        numbers=reason.numbers,
        cancel_orders=tripped.cancel_orders,
    )


async def lift(engine: AsyncEngine, scope: str, *, by: str = SELF, why: str = "") -> KillEvent | None:
    """Switch off at once, for who needs no second step; `None` when it was off."""
    return await in_transaction(engine, lambda connection: _switch_off(connection, scope, by=by, why=why))


async def follow_settings(engine: AsyncEngine, *, engaged: bool) -> None:
    """Make the configuration's switch what the configuration says now."""
    if engaged:
        await engage(engine, SETTINGS, reason="kill_switch is true in the configuration", by=SETTINGS)
    else:
        await lift(engine, SETTINGS, by=SETTINGS, why="kill_switch is false in the configuration")


class SqlKillSwitch:
    """Implements `domain.kill.KillSwitch` over Postgres, but for the dead-man switches."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def engage(self, asked: Engagement) -> Engaged:
        """Switch on."""
        return await engage(
            self._engine,
            asked.scope,
            reason=asked.reason,
            by=asked.by,
            cancel_orders=asked.cancel_orders,
            flatten=asked.flatten,
        )

    async def ask_lift(self, scope: str, *, because: str, by: str) -> LiftAsked:
        """Ask to lift."""
        code = secrets.token_hex(3)

        async def ask(connection: AsyncConnection) -> LiftAsked:
            await _switch_to_lift(connection, scope)
            asked = {"lift_code": code, "lift_asked_at": func.clock_timestamp(), "lift_asked_by": by}
            changing = update(kill_switches).where(kill_switches.c.scope == scope).values(asked)
            at = (await connection.execute(changing.returning(kill_switches.c.lift_asked_at))).scalar_one()
            await record(connection, scope, KillEventKind.LIFT_ASKED, by=by, why=because)
            return LiftAsked(scope=scope, confirm=code, valid_until=at + timedelta(seconds=LIFT_VALID_S))

        return await in_transaction(self._engine, ask)

    async def lift(self, scope: str, *, confirm: str, by: str) -> KillEvent:
        """Lift with the code of the first step."""

        async def confirmed(connection: AsyncConnection) -> KillEvent:
            row = await _switch_to_lift(connection, scope)
            if row.lift_code is None or row.lift_asked_at is None:
                raise LiftNotConfirmed(f"nobody has asked to lift the kill switch of {scope}")
            if row.age_s > LIFT_VALID_S:
                numbers = {"age_s": f"{row.age_s:.0f}", "valid_s": str(LIFT_VALID_S)}
                raise LiftNotConfirmed(f"the code to lift the kill switch of {scope} is too old", numbers=numbers)
            if not secrets.compare_digest(row.lift_code, confirm):
                raise LiftNotConfirmed(f"that is not the code to lift the kill switch of {scope}")
            lifted = await _switch_off(connection, scope, by=by, why=f"confirmed; asked for by {row.lift_asked_by}")
            assert lifted is not None, "its row is locked"
            return lifted

        return await in_transaction(self._engine, confirmed)

    async def switches(self) -> Sequence[Switch]:
        """Return the switches that are on."""
        query = select(kill_switches).order_by(kill_switches.c.scope)
        rows = await in_transaction(self._engine, lambda connection: connection.execute(query))
        return [_switch(row) for row in rows]

    async def events(self, *, limit: int, before: int | None) -> Sequence[KillEvent]:
        """Return the history, newest first."""
        query = select(kill_events).order_by(kill_events.c.event_id.desc()).limit(limit)
        if before is not None:
            query = query.where(kill_events.c.event_id < before)
        rows = await in_transaction(self._engine, lambda connection: connection.execute(query))
        return [_event(row) for row in rows]


async def record(
    connection: AsyncConnection,
    scope: str,
    kind: KillEventKind,
    *,
    by: str,
    why: str,
    numbers: dict[str, str] | None = None,
) -> KillEvent:
    """Write one entry of the history."""
    told = {"scope": scope, "kind": kind, "by": by, "why": why, "numbers": json.dumps(numbers or {})}
    row = (await connection.execute(insert(kill_events).values(told).returning(kill_events))).one()
    return _event(row)


async def _switch_on(
    connection: AsyncConnection, figures: dict[str, str], wanted: dict[str, bool], numbers: dict[str, str]
) -> tuple[Switch, bool]:
    """Write the switch; one that is on keeps its reason, and learns what else is wanted."""
    await connection.execute(_AGAINST_LAST_LOOKS)
    mine, manual = kill_switches.c.scope == figures["scope"], figures["code"] == MANUAL
    row = (await connection.execute(select(kill_switches).where(mine))).first()
    options = {name: is_on or (row is not None and getattr(row, name)) for name, is_on in wanted.items()}
    told = {**numbers, **{name: "true" for name, is_on in options.items() if is_on}}
    if row is None:
        kind = KillEventKind.ENGAGED if manual else KillEventKind.TRIPPED
    elif any(is_on != getattr(row, name) for name, is_on in options.items()):
        kind = KillEventKind.EXTENDED
    else:
        if manual:  # who pulls it again does not want it lifted
            await connection.execute(update(kill_switches).where(mine).values(lift_code=None, lift_asked_at=None))
        return _switch(row), False
    scope, by, why = figures["scope"], figures["engaged_by"], figures["reason"]
    event = await record(connection, scope, kind, by=by, why=why, numbers=told)
    changes = {**options, "event_id": event.event_id}
    writing = insert(kill_switches).values(**figures, **changes)
    changing = writing.on_conflict_do_update(
        index_elements=["scope"], set_={**changes, "lift_code": None, "lift_asked_at": None}
    )
    return _switch((await connection.execute(changing.returning(kill_switches))).one()), row is None


async def _switch_off(connection: AsyncConnection, scope: str, *, by: str, why: str) -> KillEvent | None:
    lifting = delete(kill_switches).where(kill_switches.c.scope == scope)
    if (await connection.execute(lifting)).rowcount == 0:
        return None
    return await record(connection, scope, KillEventKind.LIFTED, by=by, why=why)


async def _switch_to_lift(connection: AsyncConnection, scope: str) -> Row[Any]:
    """Return the row of a switch under lock, with the age of its code."""
    age = func.extract("epoch", func.clock_timestamp() - kill_switches.c.lift_asked_at).label("age_s")
    query = select(kill_switches, age).where(kill_switches.c.scope == scope).with_for_update()
    row = (await connection.execute(query)).first()
    if row is None:
        raise SwitchNotOn(f"the kill switch of {scope} is not on")
    if scope == SETTINGS:
        raise SwitchOfSettings("this kill switch is the configuration's")
    return row


async def _until_nothing_flies(engine: AsyncEngine, scope: str) -> tuple[int, int]:
    """Wait for the requests that had passed before; return how many there were, and of how many nothing was heard."""
    clock = asyncio.get_running_loop().time
    until = clock() + IN_FLIGHT_MAX_S
    at_first = left = await _in_flight(engine, scope)
    while left and clock() < until:
        await asyncio.sleep(IN_FLIGHT_POLL_S)
        left = await _in_flight(engine, scope)
    return at_first, left


async def _in_flight(engine: AsyncEngine, scope: str) -> int:
    found = await in_transaction(engine, lambda connection: connection.execute(_IN_FLIGHT, {"scope": scope}))
    return int(found.scalar_one())


def _switch(row: Row[Any]) -> Switch:
    return Switch(**{name: getattr(row, name) for name in Switch.model_fields})


def _event(row: Row[Any]) -> KillEvent:
    figures = {name: getattr(row, name) for name in KillEvent.model_fields if name != "numbers"}
    return KillEvent(**figures, numbers=json.loads(row.numbers))
