"""Balances and reservations: what decisions and fills do to them, inside the caller's transaction.

`balances.total`, `free` and `used` are the venue's word of a moment between `asked_at` and `told_at`, moved on by our
own fills of a later time until the venue is asked again. `expected` is its first word moved on by every fill of ours
since, which is what the total should be (`storage/comparison.py` compares the two). `reserved` is ours alone: what open
orders may still use up.
Rows are locked in one order everywhere: the order, scopes with limits, balances by name, then exposures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import and_, bindparam, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import Fill
from domain.numbers import EXACT, SCALE, add, multiply, round_up_to_step, subtract, to_scale
from domain.order import Order, OrderSide
from domain.reports import Balance
from domain.risk import Reservation
from storage import exposures, valuation
from storage.tables import account_states, balances, reservations

ZERO = Decimal(0)
CLOCKS = timedelta(seconds=1)
"""How far the venue's clock and ours may be apart; the time fence allows as much."""
_MOVING = ("free", "used", "total", "reserved", "moved_at", "expected")

TAKE = """
    UPDATE balances SET reserved = reserved + :more {given}
    WHERE account = :account AND asset = :asset AND total - reserved >= :more RETURNING 1
"""
"""Takes what a reservation needs, unless what is available does not reach: no row then."""
_RESERVE_MORE = text(
    f"""
    WITH taken AS ({TAKE.format(given="")})
    UPDATE reservations SET amount = amount + :more FROM taken WHERE account = :account AND order_id = :order_id
    """
)
_RESERVE_ANEW = text(
    """
    WITH lost AS (
        INSERT INTO reservations (account, order_id, asset, amount, unit_amount)
        VALUES (:account, :order_id, :asset, :more, :unit_amount) ON CONFLICT DO NOTHING RETURNING 1
    )
    UPDATE balances SET reserved = reserved + :more FROM lost WHERE account = :account AND asset = :asset
    """
)
_LOCK_BALANCES = (
    select(
        *(column for column in balances.c if column.name not in ("difference", "differs_since")),
        reservations.c.amount.label("held"),
        reservations.c.unit_amount,
        reservations.c.fee_rate,
    )
    .outerjoin(
        reservations,
        and_(
            reservations.c.account == balances.c.account,
            reservations.c.order_id == bindparam("order_id"),
            reservations.c.asset == balances.c.asset,
        ),
    )
    .where(balances.c.account == bindparam("account"), balances.c.asset.in_(bindparam("assets", expanding=True)))
    .order_by(balances.c.asset)
    .with_for_update(of=balances)
)
_WRITE_BALANCES = text(
    """
    WITH kept AS (
        UPDATE reservations SET amount = :kept WHERE account = :account AND order_id = :order_id AND amount <> :kept
    )
    UPDATE balances SET free = new.free, used = new.used, total = new.total, reserved = new.reserved,
        moved_at = new.moved_at, expected = new.expected
    FROM unnest(:assets ::text[], :free ::numeric[], :used ::numeric[], :total ::numeric[], :reserved ::numeric[],
        :moved_at ::timestamptz[], :expected ::numeric[])
        AS new (asset, free, used, total, reserved, moved_at, expected)
    WHERE account = :account AND balances.asset = new.asset
    """
)


async def available(connection: AsyncConnection, account: str, asset: str) -> Decimal:
    """Return the units of an asset that no order has reserved."""
    query = select(balances.c.total - balances.c.reserved).where(
        balances.c.account == account, balances.c.asset == asset
    )
    found = (await connection.execute(query)).scalar_one_or_none()
    return max(found, ZERO) if found is not None else ZERO


async def reserved(connection: AsyncConnection, account: str, order_id: str) -> Reservation | None:
    """Return what the order has reserved now; `None` when it never had anything."""
    query = select(reservations.c.asset, reservations.c.amount).where(
        reservations.c.account == account, reservations.c.order_id == order_id
    )
    row = (await connection.execute(query)).first()
    return Reservation(asset=row.asset, amount=row.amount) if row is not None else None


async def reserve_more(connection: AsyncConnection, order: Order) -> Reservation | None:
    """Raise the reservation to what the order needs now. Return what was missing if the balance does not reach."""
    query = select(reservations).where(
        reservations.c.account == order.account, reservations.c.order_id == order.order_id
    )
    row = (await connection.execute(query)).one()
    more = subtract(_needed(order, row.unit_amount, row.fee_rate), row.amount)
    if more <= 0:
        return None
    taken = await connection.execute(_RESERVE_MORE, {**_key(order), "asset": row.asset, "more": more})
    return None if taken.rowcount == 1 else Reservation(asset=row.asset, amount=more)


async def restore_reservation(connection: AsyncConnection, order: Order) -> None:
    """Reserve again for an order whose reservation was lost with the ledger's last facts, whatever is available."""
    base_asset, quote_asset = order.ticket.symbol.split("/")
    unit_amount = order.price or ZERO
    figures = {
        **_key(order),
        "asset": quote_asset if order.ticket.side is OrderSide.BUY else base_asset,
        "more": _needed(order, unit_amount, ZERO),
        "unit_amount": unit_amount,
    }
    await connection.execute(_RESERVE_ANEW, figures)


async def settle(connection: AsyncConnection, order: Order, fills: Sequence[Fill], *, now: datetime) -> None:
    """Do what new fills and the order's new state do: reservation, totals and position move together.

    The reservation becomes exactly what the order may still use up, which is nothing once it has ended; what its
    scopes hold and work follows (`storage/exposures.py`).
    """
    assets = {*order.ticket.symbol.split("/"), *(asset for fill in fills for asset, _ in _deltas(order, fill))}
    rows = await _locked(connection, order, assets)
    if fills and await _add_missing(connection, order.account, assets - {row.asset for row in rows}):
        rows = await _locked(connection, order, assets)
    await _write(connection, order, [row.after(order, fills) for row in rows])
    realized = await exposures.settle(connection, order, fills, now=now)
    await valuation.record_realized(connection, order, realized, now=now)


@dataclass(frozen=True)
class _Row:
    """A locked balance, and what the order at hand has reserved of it."""

    account: str
    asset: str
    free: Decimal
    used: Decimal
    total: Decimal
    reserved: Decimal
    asked_at: datetime
    told_at: datetime | None
    moved_at: datetime | None
    expected: Decimal
    expected_at: datetime | None
    held: Decimal | None
    unit_amount: Decimal | None
    fee_rate: Decimal | None

    def after(self, order: Order, fills: Sequence[Fill]) -> "_Row":
        """Return the balance after the fills, with the reservation that the order has now.

        A fill that is older than the venue's word is in that word already. Its time is the venue's and the word's is
        ours, and the word is of some moment between question and answer: what falls between the two clocks, or between
        the two moments, counts if it lessens what is there, and does not if it adds to it.
        The venue will tell anew soon; until then no figure goes below zero, for a fill must be recorded whatever we
        believed was there.
        """
        free, used, total, moved_at = self.free, self.used, self.total, self.moved_at
        expected = self.expected
        told_at = max(self.asked_at, self.told_at or self.asked_at)
        for fill in fills:
            for asset, delta in _deltas(order, fill):
                if asset != self.asset:
                    continue
                if self.expected_at is None or fill.ts_event > self.expected_at:
                    expected = add(expected, delta)
                if fill.ts_event <= (told_at + CLOCKS if delta > 0 else self.asked_at - CLOCKS):
                    continue
                from_used = min(used, max(EXACT.minus(delta), ZERO))
                used = subtract(used, from_used)
                free = max(add(free, add(delta, from_used)), ZERO)
                total = max(add(total, delta), ZERO)
                moved_at = max(fill.ts_event, moved_at or fill.ts_event)
        reserved, held = self.reserved, self.held
        if held is not None:
            held = _needed(order, self.unit_amount or ZERO, self.fee_rate or ZERO)
            reserved = add(reserved, subtract(held, self.held or ZERO))
        moved = replace(self, free=free, used=used, total=total, moved_at=moved_at)
        return replace(moved, expected=expected, reserved=reserved, held=held)


def unit_amount(reservation: Reservation, order: Order) -> Decimal:
    """Return what one base unit of a new order uses up, without commission."""
    return round_up_to_step(
        EXACT.divide(reservation.amount, multiply(order.quantity, 1 + reservation.fee_rate)), step=SCALE
    )


def _needed(order: Order, unit_amount: Decimal, fee_rate: Decimal) -> Decimal:
    """Return what an order may still use up at worst: while it is being replaced, the worse of old and new."""
    if order.is_final:
        return ZERO
    figures = [(order.quantity, order.price)]
    if order.amend_quantity is not None:
        figures.append((order.amend_quantity, order.amend_price))
    return max(_need_for(order, quantity, multiply(price or unit_amount, 1 + fee_rate)) for quantity, price in figures)


def _need_for(order: Order, quantity: Decimal, price: Decimal) -> Decimal:
    left = max(subtract(quantity, order.cum_qty), ZERO)
    if order.ticket.side is OrderSide.SELL:
        return left
    return round_up_to_step(multiply(left, price), step=SCALE)


def _deltas(order: Order, fill: Fill) -> Iterator[tuple[str, Decimal]]:
    """Yield what a fill moves: the two assets of the symbol, and the commission in whatever asset it was taken."""
    base_asset, quote_asset = order.ticket.symbol.split("/")
    notional = to_scale(multiply(fill.last_qty, fill.last_px))
    buying = order.ticket.side is OrderSide.BUY
    yield base_asset, fill.last_qty if buying else EXACT.minus(fill.last_qty)
    yield quote_asset, EXACT.minus(notional) if buying else notional
    if fill.commission is not None and fill.commission_asset is not None:
        yield fill.commission_asset, EXACT.minus(fill.commission)


async def _write(connection: AsyncConnection, order: Order, rows: Sequence[_Row]) -> None:
    """Write locked balances, and what the order has reserved of one of them."""
    if rows:
        columns = {name: [getattr(row, name) for row in rows] for name in _MOVING}
        held = next((row.held for row in rows if row.held is not None), ZERO)
        assets = [row.asset for row in rows]
        await connection.execute(_WRITE_BALANCES, {**_key(order), "kept": held, "assets": assets, **columns})


async def _locked(connection: AsyncConnection, order: Order, assets: set[str]) -> list[_Row]:
    names = {**_key(order), "assets": sorted(assets)}
    return [_Row(**row._mapping) for row in await connection.execute(_LOCK_BALANCES, names)]


async def _add_missing(connection: AsyncConnection, account: str, assets: set[str]) -> bool:
    """Write down as zero what the venue's last word left out, so that a fill can move it. False if it never spoke."""
    if not assets:
        return False
    query = select(account_states.c.balances_at).where(account_states.c.account == account)
    asked_at = (await connection.execute(query)).scalar_one_or_none()
    if asked_at is None:
        return False
    nothing = dict.fromkeys(("free", "used", "total", "reserved", "expected"), 0)
    zero = {"account": account, **nothing, "asked_at": asked_at, "expected_at": asked_at - CLOCKS}
    rows = [{**zero, "asset": asset} for asset in sorted(assets)]
    await connection.execute(insert(balances).on_conflict_do_nothing(), rows)
    return True


async def record_balances(
    connection: AsyncConnection,
    account: str,
    told: Sequence[Balance],
    *,
    asked_at: datetime,
    told_at: datetime | None = None,
) -> None:
    """Take over the venue's word, asset by asset, unless a fill or another word of a later time is in it already.

    An asset that is not named is zero at the venue. See `domain.ports.OrderStore.record_balances`.
    """
    before = (
        await connection.execute(select(account_states.c.balances_at).where(account_states.c.account == account))
    ).scalar_one_or_none()
    state = insert(account_states).values(account=account, balances_at=asked_at)
    latest = func.greatest(account_states.c.balances_at, state.excluded.balances_at)
    await connection.execute(state.on_conflict_do_update(index_elements=["account"], set_={"balances_at": latest}))
    named = {balance.asset: balance for balance in told}
    query = select(balances.c.asset).where(balances.c.account == account).order_by(balances.c.asset).with_for_update()
    for asset in (await connection.execute(query)).scalars():
        named.setdefault(asset, Balance(asset=asset, free=ZERO, used=ZERO, total=ZERO))
    if not named:
        return
    row = insert(balances)
    newer = or_(balances.c.moved_at.is_(None), balances.c.moved_at < row.excluded.asked_at - CLOCKS)
    figures = {name: row.excluded[name] for name in ("free", "used", "total", "asked_at", "told_at")}
    await connection.execute(
        row.on_conflict_do_update(
            index_elements=["account", "asset"],
            set_=figures,
            where=and_(balances.c.asked_at < row.excluded.asked_at, newer),
        ),
        [
            {
                "account": account,
                "asset": asset,
                "free": balance.free,
                "used": balance.used,
                "total": balance.total,
                "reserved": ZERO,
                "asked_at": asked_at,
                "told_at": told_at or asked_at,
                # No order of ours is older than the first word; what an earlier word did not name was nothing then.
                "expected": balance.total if before is None else ZERO,
                "expected_at": (before or asked_at) - CLOCKS,
            }
            for asset, balance in sorted(named.items())
        ],
    )


def _key(order: Order) -> dict[str, object]:
    return {"account": order.account, "order_id": order.order_id}
