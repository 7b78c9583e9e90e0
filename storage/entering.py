"""What an admitted order takes, in one statement: its locks are held until the commit, and others wait for them.

The balance comes first. Where it does not reach, nothing of the rest is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import OrderEvent
from domain.order import Order
from domain.risk import Reservation
from storage import exposures, holdings, order_rows

_STATEMENT = f"""
    WITH added AS ({{added}}), taken AS ({holdings.TAKE.format(given="FROM added")}), reserved AS (
        INSERT INTO reservations (account, order_id, asset, amount, unit_amount, fee_rate, working, working_notional,
            counted, unit_price)
        SELECT :account, :order_id, :asset, :more, :unit_amount, :fee_rate, :working, :working_notional,
            true, :unit_price
        FROM taken
    ), facts AS ({order_rows.INSERT_FACTS.format(given="taken, ")}), counted AS (
        UPDATE risk_scopes SET admitted = admitted + 1 FROM taken WHERE scope = ANY(:rated ::text[])
        RETURNING scope, admitted
    ), admitted AS (
        INSERT INTO admissions (scope, number, admitted_at) SELECT scope, admitted, :admitted_at FROM counted
    ), worked AS ({exposures.ADD_ROWS.format(given="taken, ")})
    SELECT (SELECT count(*) FROM added) AS added, (SELECT count(*) FROM taken) AS taken, scope, admitted
    FROM (SELECT 1) AS once LEFT JOIN counted ON true
"""
_ENTER_NEW = text(_STATEMENT.format(added=order_rows.INSERT_ORDER))
_ENTER = text(_STATEMENT.format(added="SELECT 1"))


@dataclass(frozen=True)
class Entered:
    """What came of it. Where one is false, nothing of what follows it was written."""

    added: bool
    """Whether the order's row is there: false when another transaction recorded one under its id or key."""
    taken: bool
    """Whether what is available reached."""
    numbers: Mapping[str, int]
    """The number of the order in each of the scopes that count their orders."""


async def enter(
    connection: AsyncConnection,
    order: Order,
    reservation: Reservation,
    *,
    unit_price: Decimal,
    event: OrderEvent | None = None,
    evidence: str | None = None,
    rated: Sequence[str] = (),
    admitted_at: datetime | None = None,
    now: datetime,
) -> Entered:
    """Write an order with its first fact, reserve for it, and count it in all its scopes.

    Parameters
    ----------
    event
        The first fact of a new order; without one the order is on record, with its facts.
    unit_price
        What a base unit is worth in the order's scopes while it is worked, in quote units.
    rated
        Rows of the scopes that count their orders; they are locked by the caller.
    admitted_at
        When it is counted there, by the ledger's clock.
    """
    work = exposures.worked(order, unit_price)
    figures = {
        "account": order.account,
        "order_id": order.order_id,
        "asset": reservation.asset,
        "more": reservation.amount,
        "unit_amount": holdings.unit_amount(reservation, order),
        "fee_rate": reservation.fee_rate,
        "working": work.quantity,
        "working_notional": work.notional,
        "unit_price": unit_price,
        "rated": sorted(rated),
        "admitted_at": admitted_at or now,
        **order_rows.new_row(order),
        **order_rows.facts_of(order, [event] if event is not None else [], evidence),
        **exposures.changes(order, work.quantity, work.notional, orders=1, now=now),
    }
    rows = list(await connection.execute(_ENTER_NEW if event is not None else _ENTER, figures))
    numbers = {row.scope: row.admitted for row in rows if row.scope is not None}
    return Entered(added=bool(rows[0].added), taken=bool(rows[0].taken), numbers=numbers)
