"""What an account has: balances and positions, from the ledger."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.context import Account, Context, Ctx, answer
from api.errors import WrongFields
from api.problems import near
from api.schemas import BalanceJson, PositionJson
from domain.errors import ExecutionError, VenueUnavailable
from domain.numbers import multiply, subtract, to_scale
from domain.order import TradingMode
from domain.ports import BalanceSheet, Position

router = APIRouter(tags=["account"])

Mode = Annotated[TradingMode | None, Query(description="the account's mode if left out; modes are never mixed")]
Currency = Annotated[str | None, Query(max_length=20, description="one currency; all if left out")]


@router.get("/balance/{exchange}", response_model=list[BalanceJson] | BalanceJson)
async def balance(account: Account, context: Ctx, currency: Currency = None) -> Response:
    """Return the balances as the venue last told them: a list, or one object for `?currency=`."""
    sheets = await context.reader.balances(account)
    if currency is None:
        return answer([_balance_json(sheet) for sheet in sheets])
    for sheet in sheets:
        if sheet.asset == currency:
            return answer(_balance_json(sheet))
    if not sheets:
        raise VenueUnavailable(f"{account} has not told its balances yet")
    await _check_currency(account, currency, sheets, context)
    zero = Decimal(0)
    as_of = max(sheet.asked_at for sheet in sheets)
    return answer(BalanceJson(currency=currency, free=zero, used=zero, total=zero, reserved=zero, as_of=as_of))


async def _check_currency(account: str, currency: str, sheets: object, context: Context) -> None:
    """Refuse a name that no symbol of the venue is made of; one that is, and is not in the list, is held at zero."""
    try:
        instruments = (await context.venues.instruments(account)).values()
    except ExecutionError:
        return
    known = {asset for instrument in instruments for asset in (instrument.base_asset, instrument.quote_asset)}
    if currency not in known:
        alike = near(currency, known)
        hint = f"; did you mean {' or '.join(alike)}?" if alike else ""
        raise WrongFields([{"field": "currency", "message": f"{account} has no {currency[:20]!r}{hint}"}])


def _balance_json(sheet: BalanceSheet) -> BalanceJson:
    return BalanceJson(
        currency=sheet.asset,
        free=sheet.free,
        used=sheet.used,
        total=sheet.total,
        reserved=sheet.reserved,
        as_of=sheet.asked_at,
    )


@router.get("/positions/{exchange}", response_model=list[PositionJson])
async def positions(account: Account, context: Ctx, mode: Mode = None) -> Response:
    """Return what is held per symbol from our own fills of one mode.

    Prices are up to 15 s old where the venue answers at once, else the feed's last mark, and `null` while not known.
    """
    wanted = mode or context.settings.mode_of(account)
    ledger = await context.reader.positions(account)
    held = [position for position in ledger if position.amount != 0 and position.mode is wanted]
    prices = await asyncio.gather(*(context.venues.price(account, position.symbol) for position in held))
    told = {position.symbol: price for position, price in zip(held, prices, strict=True) if price is not None}
    missing = [position.symbol for position in held if position.symbol not in told]
    if missing:
        marks = await context.accounting.marks(missing, wanted, now=datetime.now(UTC))
        told |= {symbol: mark.price for symbol, mark in marks.items() if mark.price is not None}
    return answer([_position_json(position, told.get(position.symbol)) for position in held])


def _position_json(position: Position, price: Decimal | None) -> PositionJson:
    unrealized = None
    if price is not None and position.entry_price is not None:
        unrealized = to_scale(multiply(subtract(price, position.entry_price), position.amount))
    return PositionJson(
        symbol=position.symbol,
        side="long" if position.amount > 0 else "short",
        amount=position.amount.copy_abs(),
        entry_price=position.entry_price,
        current_price=price,
        unrealized_pnl=unrealized,
        realized_pnl=position.realized_pnl,
        updated_at=position.updated_at,
    )
