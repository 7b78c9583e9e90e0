"""What the switches ask of who carries them out: orders to cancel, positions to close; and the dead-man switches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.errors import DeadmanNotArmed
from domain.kill import (
    DEADMAN,
    ArmDeadman,
    Closing,
    Condemned,
    Deadman,
    KillEventKind,
    Switch,
    concerns,
)
from domain.order import Order, TradingMode
from domain.trips import Trip, TripTerms, loss_trip
from storage import losses, order_rows
from storage.database import in_transaction
from storage.kill_switch import SCOPES_OF_ROW, SELF, SqlKillSwitch, engage, record
from storage.kill_tables import deadman_switches, kill_exemptions, kill_sweeps, kill_switches
from storage.tables import cases

_SWEEPING: Final = """
    (
        SELECT scope, reason || ', says ' || engaged_by AS why FROM kill_switches WHERE cancel_orders
        UNION ALL
        SELECT scope, 'no heartbeat for ' || timeout_s || ' s' FROM deadman_switches WHERE fired_at IS NOT NULL
    )
"""
_CONDEMNED: Final = f"""
    FROM orders JOIN {_SWEEPING} AS sweeping ON sweeping.scope = ANY({SCOPES_OF_ROW})
    WHERE orders.account = ANY(:accounts) AND orders.is_open AND orders.status <> 'HELD'
      AND NOT (
          orders.status IN ('INITIALIZED', 'SUBMITTED', 'IN_DOUBT') AND (orders.document->>'cancel_requested')::boolean
      )
      AND NOT EXISTS (
          SELECT FROM kill_exemptions
          WHERE kill_exemptions.account = orders.account AND kill_exemptions.order_id = orders.order_id
      )
"""
"""Open orders that a switch cancels. One that is held was never sent, and is decided on when it is approved. One whose
outcome is not known keeps the wish on record, and comes back here once it is known to rest."""
_LIST = text(
    f"SELECT orders.document::text, sweeping.scope, sweeping.why {_CONDEMNED} ORDER BY orders.number, sweeping.scope"
)
_OWED = text(f"SELECT DISTINCT orders.account {_CONDEMNED}")
_ASKED = text(
    "SELECT EXISTS (SELECT FROM kill_switches WHERE cancel_orders)"
    " OR EXISTS (SELECT FROM deadman_switches WHERE fired_at IS NOT NULL)"
)
"""Whether anything is to be canceled at all: every worker asks twice a second, and orders may be many."""
_FIRE = (
    update(deadman_switches)
    .where(
        deadman_switches.c.fired_at.is_(None),
        deadman_switches.c.beat_at + func.make_interval(0, 0, 0, 0, 0, 0, deadman_switches.c.timeout_s)
        < func.clock_timestamp(),
    )
    .values(fired_at=func.clock_timestamp())
    .returning(deadman_switches)
)


class SqlSwitches(SqlKillSwitch):
    """Implements `domain.kill.KillSwitch` over Postgres, whole."""

    async def arm(self, asked: ArmDeadman) -> Deadman:
        """Arm a dead-man switch, or change one."""
        figures = {"timeout_s": asked.timeout_s, "stop_admission": asked.stop_admission, "armed_by": asked.by}
        now = func.clock_timestamp()
        writing = insert(deadman_switches).values(scope=asked.scope, **figures)
        writing = writing.on_conflict_do_update(
            index_elements=["scope"], set_={**figures, "armed_at": now, "beat_at": now, "fired_at": None}
        )

        async def arm(connection: AsyncConnection) -> Deadman:
            row = (await connection.execute(writing.returning(deadman_switches))).one()
            why = f"cancel when no heartbeat comes for {asked.timeout_s} s"
            numbers = {"timeout_s": str(asked.timeout_s), "stop_admission": str(asked.stop_admission).lower()}
            await record(connection, asked.scope, KillEventKind.DEADMAN_ARMED, by=asked.by, why=why, numbers=numbers)
            return _deadman(row)

        return await in_transaction(self._engine, arm)

    async def beat(self, scope: str) -> Deadman:
        """Take a heartbeat."""
        beating = update(deadman_switches).where(deadman_switches.c.scope == scope)
        return await self._on_deadman(scope, beating.values(beat_at=func.clock_timestamp(), fired_at=None))

    async def disarm(self, scope: str, *, by: str) -> Deadman:
        """Take it away."""
        removing = delete(deadman_switches).where(deadman_switches.c.scope == scope)
        return await self._on_deadman(scope, removing, by=by)

    async def _on_deadman(self, scope: str, statement: Any, *, by: str | None = None) -> Deadman:
        async def change(connection: AsyncConnection) -> Deadman:
            row = (await connection.execute(statement.returning(deadman_switches))).first()
            if row is None:
                raise DeadmanNotArmed(f"no dead-man switch of {scope} is armed")
            if by is not None:
                await record(connection, scope, KillEventKind.DEADMAN_DISARMED, by=by, why="asked for")
            return _deadman(row)

        return await in_transaction(self._engine, change)

    async def deadmen(self) -> Sequence[Deadman]:
        """Return the dead-man switches."""
        query = select(deadman_switches).order_by(deadman_switches.c.scope)
        rows = await in_transaction(self._engine, lambda connection: connection.execute(query))
        return [_deadman(row) for row in rows]


class SqlSweepStore:
    """Implements `domain.kill.SweepStore` over Postgres. What each method promises is said there."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def fire_deadmen(self) -> Sequence[Deadman]:
        """Fire those whose time is over; one that asks for it pulls the kill switch of its scope first."""
        due = await in_transaction(self._engine, self._due)
        for deadman in due:
            if deadman.stop_admission:
                why = f"no heartbeat for {deadman.timeout_s} s"
                await engage(self._engine, deadman.scope, reason=why, code=DEADMAN, cancel_orders=True)
        return await in_transaction(self._engine, self._fire) if due else ()

    async def _due(self, connection: AsyncConnection) -> Sequence[Deadman]:
        query = select(deadman_switches).where(_FIRE.whereclause)  # type: ignore[arg-type]  # it has one
        return [_deadman(row) for row in await connection.execute(query)]

    async def _fire(self, connection: AsyncConnection) -> Sequence[Deadman]:
        fired = [_deadman(row) for row in await connection.execute(_FIRE)]
        for deadman in fired:
            numbers = {"timeout_s": str(deadman.timeout_s), "beat_at": f"{deadman.beat_at:%Y-%m-%dT%H:%M:%S.%fZ}"}
            why = f"no heartbeat for {deadman.timeout_s} s"
            await record(connection, deadman.scope, KillEventKind.DEADMAN_FIRED, by=SELF, why=why, numbers=numbers)
        return fired

    async def to_be_swept(self, accounts: Sequence[str]) -> Sequence[str]:
        """Return the accounts with an order to cancel, or a position to close."""

        async def read(connection: AsyncConnection) -> Sequence[str]:
            if not (await connection.execute(_ASKED)).scalar_one():
                return ()
            found = set((await connection.execute(_OWED, {"accounts": list(accounts)})).scalars())
            found |= {name for name in accounts if await _to_flatten(connection, name)}
            return sorted(found)

        return await in_transaction(self._engine, read)

    async def condemned(self, account: str) -> Sequence[Condemned]:
        """Return the account's open orders that a switch cancels, each once."""

        async def read(connection: AsyncConnection) -> Sequence[Condemned]:
            found: dict[str, Condemned] = {}
            for row in await connection.execute(_LIST, {"accounts": [account]}):
                order = Order.model_validate_json(row.document)
                found.setdefault(order.order_id, Condemned(order=order, scope=row.scope, why=row.why))
            return list(found.values())

        return await in_transaction(self._engine, read)

    async def record_swept(self, account: str) -> None:
        """Record once for each switch that cancels that nothing rests."""

        async def write(connection: AsyncConnection) -> None:
            rows = await connection.execute(select(kill_switches).where(kill_switches.c.cancel_orders))
            for row in [row for row in rows if concerns(row.scope, account) and row.event_id is not None]:
                if await _mark(connection, row.event_id, account, "swept_at"):
                    why, numbers = "nothing of the scope is known to rest", {"account": account}
                    await record(connection, row.scope, KillEventKind.SWEPT, by=SELF, why=why, numbers=numbers)

        await in_transaction(self._engine, write)

    async def open_codes(self, account: str) -> Sequence[str]:
        """Return the codes of the account's open cases."""
        query = select(cases.c.code).distinct().where(cases.c.account == account, cases.c.closed_at.is_(None))
        found = await in_transaction(self._engine, lambda connection: connection.execute(query))
        return list(found.scalars())

    async def to_flatten(self, account: str) -> Sequence[Switch]:
        """Return the switches whose positions are still to be closed here."""
        return await in_transaction(self._engine, lambda connection: _to_flatten(connection, account))

    async def closings(self, account: str, event_id: int) -> Sequence[Closing]:
        """Return the orders that were meant to close positions for this event."""
        mine = (kill_exemptions.c.account == account, kill_exemptions.c.event_id == event_id)
        query = select(kill_exemptions).where(*mine).order_by(kill_exemptions.c.exempted_at)

        async def read(connection: AsyncConnection) -> Sequence[Closing]:
            return [
                Closing(
                    order_id=row.order_id,
                    symbol=row.symbol,
                    order=await order_rows.find(connection, account, row.order_id),
                )
                for row in (await connection.execute(query)).all()
            ]

        return await in_transaction(self._engine, read)

    async def exempt(self, account: str, event_id: int, *, symbol: str, order_id: str) -> None:
        """Let one order pass the switch."""
        row = insert(kill_exemptions).values(account=account, order_id=order_id, event_id=event_id, symbol=symbol)
        await in_transaction(self._engine, lambda connection: connection.execute(row.on_conflict_do_nothing()))

    async def record_flattened(self, account: str, switch: Switch, *, left: dict[str, str]) -> None:
        """Record that closing is over."""

        async def write(connection: AsyncConnection) -> None:
            if switch.event_id is not None and await _mark(connection, switch.event_id, account, "flattened_at"):
                why = "positions are closed" if not left else "positions stand; a person must close them"
                numbers = {"account": account, **left}
                await record(connection, switch.scope, KillEventKind.FLATTENED, by=SELF, why=why, numbers=numbers)

        await in_transaction(self._engine, write)


async def loss_trips(
    engine: AsyncEngine, account: str, mode: TradingMode, terms: TripTerms, *, now: datetime
) -> Sequence[Trip | None]:
    """Measure what the account's scopes have lost, and keep their peaks; return the trips that come of it."""
    return [
        loss_trip(lost.scope, loss=lost.loss, limit=lost.limit, currency=lost.currency, terms=terms)
        for lost in await losses.look(engine, account, mode, now=now)
    ]


async def _to_flatten(connection: AsyncConnection, account: str) -> Sequence[Switch]:
    done = select(kill_sweeps.c.event_id).where(
        kill_sweeps.c.event_id == kill_switches.c.event_id,
        kill_sweeps.c.account == account,
        kill_sweeps.c.flattened_at.is_not(None),
    )
    query = select(kill_switches).where(kill_switches.c.flatten, ~done.exists()).order_by(kill_switches.c.scope)
    found = [Switch(**{name: getattr(row, name) for name in Switch.model_fields}) for row in
             await connection.execute(query)]  # fmt: skip
    return [switch for switch in found if concerns(switch.scope, account)]


async def _mark(connection: AsyncConnection, event_id: int, account: str, column: str) -> bool:
    """Write the time into one column, once; false when it stands there already."""
    row = insert(kill_sweeps).values(event_id=event_id, account=account, **{column: func.clock_timestamp()})
    marking = row.on_conflict_do_update(
        index_elements=["event_id", "account"],
        set_={column: func.clock_timestamp()},
        where=kill_sweeps.c[column].is_(None),
    )
    return (await connection.execute(marking)).rowcount == 1


def _deadman(row: Row[Any]) -> Deadman:
    return Deadman(**{name: getattr(row, name) for name in Deadman.model_fields})
