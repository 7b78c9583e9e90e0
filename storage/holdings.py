"""Balances, reservations and positions: what fills and decisions do to them, inside the caller's transaction.

`balances.total` is the venue's word, moved on by our own fills until the venue is asked again; `reserved` is ours alone:
the sum of what open orders may still use up. Rows are locked in the order: order, balances, positions.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import Fill
from domain.numbers import EXACT, add, multiply, subtract, to_scale
from domain.order import Order, OrderSide
from domain.position import Holding
from domain.reports import Balance
from domain.risk import Reservation
from storage.tables import account_states, balances, positions, reservations


async def available(connection: AsyncConnection, account: str, asset: str) -> Decimal | None:
    """Return units that are neither used nor reserved; `None` when the venue has not told any balance yet."""
    query = select(balances.c.total - balances.c.reserved).where(
        balances.c.account == account, balances.c.asset == asset
    )
    found: Decimal | None = (await connection.execute(query)).scalar_one_or_none()
    if found is not None:
        return max(found, Decimal(0))
    return Decimal(0) if await is_reconciled(connection, account) else None


async def is_reconciled(connection: AsyncConnection, account: str) -> bool:
    """Tell whether the account was compared with its venue."""
    query = select(account_states.c.reconciled_at).where(account_states.c.account == account)
    return (await connection.execute(query)).scalar_one_or_none() is not None


async def reserve(connection: AsyncConnection, order: Order, reservation: Reservation) -> bool:
    """Take the reservation by one conditional update; false when what is available does not reach."""
    taken = await connection.execute(
        update(balances)
        .where(
            balances.c.account == order.account,
            balances.c.asset == reservation.asset,
            balances.c.total - balances.c.reserved >= reservation.amount,
        )
        .values(reserved=balances.c.reserved + reservation.amount)
    )
    if taken.rowcount != 1:
        return False
    row = insert(reservations).values(
        account=order.account, order_id=order.order_id, asset=reservation.asset, amount=reservation.amount
    )
    await connection.execute(
        row.on_conflict_do_update(
            index_elements=["account", "order_id"], set_={"amount": reservations.c.amount + row.excluded.amount}
        )
    )
    return True


async def reserved_by(connection: AsyncConnection, order: Order) -> Reservation | None:
    """Return what the order has reserved now."""
    query = select(reservations.c.asset, reservations.c.amount).where(
        reservations.c.account == order.account, reservations.c.order_id == order.order_id
    )
    row = (await connection.execute(query.with_for_update())).first()
    return Reservation(asset=row.asset, amount=row.amount) if row is not None else None


async def keep_reserved(connection: AsyncConnection, order: Order, amount: Decimal) -> None:
    """Lower the order's reservation to `amount`; zero releases it."""
    reservation = await reserved_by(connection, order)
    if reservation is None:
        return
    await connection.execute(
        update(balances)
        .where(balances.c.account == order.account, balances.c.asset == reservation.asset)
        .values(reserved=balances.c.reserved - subtract(reservation.amount, amount))
    )
    mine = (reservations.c.account == order.account, reservations.c.order_id == order.order_id)
    if amount == 0:
        await connection.execute(delete(reservations).where(*mine))
    else:
        await connection.execute(update(reservations).where(*mine).values(amount=amount))


async def move(connection: AsyncConnection, before: Order, after: Order, fills: Sequence[Fill], now: datetime) -> None:
    """Do what new fills do: the used part leaves the reservation, totals and the position move."""
    reservation = await reserved_by(connection, after)
    if reservation is not None:
        left = subtract(before.quantity, before.cum_qty)
        share = max(subtract(after.quantity, after.cum_qty), Decimal(0))
        kept = EXACT.divide(multiply(reservation.amount, share), left) if left > 0 else Decimal(0)
        await keep_reserved(connection, after, to_scale(kept))
    for asset, moved in _moves(after, fills).items():
        await _move_total(connection, after.account, asset, moved, now)
    await _move_position(connection, after, fills, now)
    await _upsert_state(connection, after.account, last_fill_at=now)


def _moves(order: Order, fills: Sequence[Fill]) -> dict[str, Decimal]:
    base_asset, quote_asset = order.ticket.symbol.split("/")
    moves: dict[str, Decimal] = {}

    def move_by(asset: str, amount: Decimal) -> None:
        moves[asset] = add(moves.get(asset, Decimal(0)), amount)

    for fill in fills:
        notional = to_scale(multiply(fill.last_qty, fill.last_px))
        buying = order.ticket.side is OrderSide.BUY
        move_by(base_asset, fill.last_qty if buying else EXACT.minus(fill.last_qty))
        move_by(quote_asset, EXACT.minus(notional) if buying else notional)
        if fill.commission is not None and fill.commission_asset is not None:
            move_by(fill.commission_asset, EXACT.minus(fill.commission))
    return dict(sorted(moves.items()))


async def _move_total(connection: AsyncConnection, account: str, asset: str, moved: Decimal, now: datetime) -> None:
    """Move a total that the venue will tell anew soon; until then it does not go below zero."""
    start = max(moved, Decimal(0))
    row = insert(balances).values(
        account=account, asset=asset, free=start, used=0, total=start, reserved=0, asked_at=now
    )
    moved_on = {
        "total": func.greatest(balances.c.total + moved, 0),
        "free": func.greatest(balances.c.free + moved, 0),
    }
    await connection.execute(row.on_conflict_do_update(index_elements=["account", "asset"], set_=moved_on))


async def _move_position(connection: AsyncConnection, order: Order, fills: Sequence[Fill], now: datetime) -> None:
    key = {"account": order.account, "symbol": order.ticket.symbol}
    first = insert(positions).values(**key, amount=0, cost=0, realized_pnl=0, updated_at=now)
    await connection.execute(first.on_conflict_do_nothing())
    mine = (positions.c.account == order.account, positions.c.symbol == order.ticket.symbol)
    query = select(positions.c.amount, positions.c.cost, positions.c.realized_pnl).where(*mine).with_for_update()
    row = (await connection.execute(query)).one()
    holding = Holding(amount=row.amount, cost=row.cost, realized_pnl=row.realized_pnl)
    for fill in fills:
        holding = holding.after(fill, side=order.ticket.side)
    figures = {"amount": holding.amount, "cost": holding.cost, "realized_pnl": holding.realized_pnl}
    await connection.execute(update(positions).where(*mine).values(**figures, updated_at=now))


async def record_balances(
    connection: AsyncConnection, account: str, told: Sequence[Balance], *, asked_at: datetime
) -> None:
    """Take over the venue's word, unless a fill was recorded since it was asked: then it is old, and asked again."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"balances {account}"})
    query = select(account_states.c.last_fill_at).where(account_states.c.account == account).with_for_update()
    last_fill_at = (await connection.execute(query)).scalar_one_or_none()
    if last_fill_at is not None and last_fill_at >= asked_at:
        return
    for balance in sorted(told, key=lambda entry: entry.asset):
        figures = {"free": balance.free, "used": balance.used, "total": balance.total, "asked_at": asked_at}
        row = insert(balances).values(account=account, asset=balance.asset, reserved=0, **figures)
        await connection.execute(row.on_conflict_do_update(index_elements=["account", "asset"], set_=figures))
    named = [balance.asset for balance in told]
    gone = (balances.c.account == account, balances.c.asset.not_in(named))
    await connection.execute(update(balances).where(*gone).values(free=0, used=0, total=0, asked_at=asked_at))
    await _upsert_state(connection, account, reconciled_at=asked_at)


async def _upsert_state(connection: AsyncConnection, account: str, **figures: datetime) -> None:
    row = insert(account_states).values(account=account, **figures)
    await connection.execute(row.on_conflict_do_update(index_elements=["account"], set_=figures))
