"""What each control measures of an order: pure functions from a question to whether the limit holds, with the numbers.

None of them decides: `domain/risk.py` does, from all of them. Missing data is `Missing`, never "within".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from domain.exposure import ZERO, Asked
from domain.numbers import EXACT, add, multiply, plain, subtract, to_scale
from domain.order import OrderSide
from domain.reports import Ticker
from domain.trading_hours import is_within

MARKET_AGE_S: Final = 10
STOP_OUT_WINDOW_S: Final = 86_400
PROFIT_WINDOW_S: Final = 86_400
APPROVAL_EXPIRES_S: Final = 900
RATE_WINDOWS: Final[Mapping[str, timedelta]] = {
    "max_orders_per_second": timedelta(seconds=1),
    "max_orders_per_minute": timedelta(minutes=1),
    "max_orders_per_day": timedelta(days=1),
}


@dataclass(frozen=True)
class Measured:
    """What a control found: whether the limit holds, and the numbers that say so."""

    holds: bool
    numbers: Mapping[str, str]


@dataclass(frozen=True)
class Missing:
    """A control could not measure: the code and the words for what is missing."""

    code: str
    text: str


Judge = Callable[[Asked], Measured | Missing]


def _at_most(limit: str, value: Decimal | int, cap: Decimal | int, name: str) -> Measured:
    return Measured(value <= cap, {name: _text(value), limit: _text(cap)})


def _text(value: Decimal | int) -> str:
    return plain(to_scale(value)) if isinstance(value, Decimal) else str(value)


def _cap(asked: Asked, limit: str) -> Decimal:
    cap: Decimal = getattr(asked.scope.limits, limit)
    return cap


# One order.


def order_quantity(asked: Asked) -> Measured:
    """Base units of the order."""
    return _at_most("max_order_quantity", asked.quantity, _cap(asked, "max_order_quantity"), "quantity")


def order_notional(asked: Asked) -> Measured:
    """Quote units of the order."""
    return _at_most("max_order_notional", asked.notional, _cap(asked, "max_order_notional"), "notional")


def allowed_symbols(asked: Asked) -> Measured:
    """The allow list; an empty one allows all."""
    allowed = asked.scope.limits.allowed_symbols or ()
    return Measured(not allowed or asked.symbol in allowed, {"symbol": asked.symbol, "allowed": ", ".join(allowed)})


def denied_symbols(asked: Asked) -> Measured:
    """The deny list."""
    return Measured(asked.symbol not in (asked.scope.limits.denied_symbols or ()), {"symbol": asked.symbol})


def _ticker(asked: Asked) -> Ticker | Missing:
    if asked.ticker is None:
        return Missing("MARKET_PRICE_UNAVAILABLE", "the market gives no price for the symbol")
    return _stale(asked, asked.ticker.ts_event) or asked.ticker


def _stale(asked: Asked, told_at: datetime) -> Missing | None:
    age_s = asked.scope.limits.max_market_age_s or MARKET_AGE_S
    if asked.now - told_at <= timedelta(seconds=age_s):
        return None
    text = f"the market's last word on the symbol is of {told_at.isoformat()}, older than {age_s} s"
    return Missing("MARKET_DATA_STALE", text)


def price_deviation(asked: Asked) -> Measured | Missing:
    """How far the price is from the market's, as a share; a market order trades at the market by nature."""
    cap = _cap(asked, "max_price_deviation")
    ticker = _ticker(asked)
    if isinstance(ticker, Missing):
        return ticker
    sides = [price for price in (ticker.bid, ticker.ask) if price is not None]
    market = EXACT.divide(sum(sides, ZERO), Decimal(len(sides))) if sides else ticker.last
    if not market:
        return Missing("MARKET_PRICE_UNAVAILABLE", "the market gives no price for the symbol")
    price = asked.limit_price or asked.price
    deviation = EXACT.divide(abs(subtract(price, market)), market)
    numbers = {"price": plain(price), "market": _text(market)}
    return Measured(deviation <= cap, {**numbers, "deviation": _text(deviation), "max_price_deviation": plain(cap)})


def _levels(asked: Asked) -> tuple[tuple[Decimal, Decimal], ...] | Missing:
    if asked.book is None:
        return Missing("BOOK_UNAVAILABLE", "the venue has not shown the order book of the symbol")
    stale = _stale(asked, asked.book.ts_event)
    if stale is not None:
        return stale
    levels = asked.book.asks if asked.side is OrderSide.BUY else asked.book.bids
    if not levels:
        return Missing("BOOK_UNAVAILABLE", "the order book of the symbol has nothing on the other side")
    return tuple((level.price, level.quantity) for level in levels)


def slippage(asked: Asked) -> Measured | Missing:
    """Share by which the order's average price in the book is worse than the best price."""
    cap = _cap(asked, "max_slippage")
    levels = _levels(asked)
    if isinstance(levels, Missing):
        return levels
    left, cost, best = asked.quantity, ZERO, levels[0][0]
    for price, quantity in levels:
        if asked.limit_price is not None and _is_worse(price, asked.limit_price, asked.side):
            break
        taken = min(left, quantity)
        cost, left = add(cost, multiply(taken, price)), subtract(left, taken)
    filled = subtract(asked.quantity, left)
    if left and asked.limit_price is None:
        return Measured(
            False, {"quantity": plain(asked.quantity), "in_book": plain(filled), "max_slippage": plain(cap)}
        )
    average = EXACT.divide(cost, filled) if filled else best
    share = EXACT.divide(abs(subtract(average, best)), best)
    return _at_most("max_slippage", share, cap, "slippage")


def _is_worse(price: Decimal, than: Decimal, side: OrderSide) -> bool:
    return price > than if side is OrderSide.BUY else price < than


def book_share(asked: Asked) -> Measured | Missing:
    """Share of the shown depth on the other side that the order would take."""
    levels = _levels(asked)
    if isinstance(levels, Missing):
        return levels
    depth = sum((quantity for _, quantity in levels), ZERO)
    share = EXACT.divide(asked.quantity, depth) if depth else asked.quantity
    return _at_most("max_book_share", share, _cap(asked, "max_book_share"), "book_share")


def trading_hours(asked: Asked) -> Measured:
    """Whether orders are taken now."""
    hours = asked.scope.limits.trading_hours or ""
    return Measured(is_within(hours, asked.now), {"now": asked.now.strftime("%a %H:%M"), "trading_hours": hours})


# What is held and worked, at its worst.


def position_quantity(asked: Asked) -> Measured:
    """Base units of the symbol if all working orders of the side were filled, this one with them."""
    cap = (asked.scope.limits.max_position_quantity or {}).get(asked.symbol)
    if cap is None:
        return Measured(True, {})
    worst = asked.row.worst_quantity(asked.side, asked.quantity)
    return Measured(worst <= cap, {**_used(asked), "position": _text(worst), "max_position_quantity": plain(cap)})


def _used(asked: Asked) -> Mapping[str, str]:
    row = asked.row
    working = row.working_buy if asked.side is OrderSide.BUY else row.working_sell
    return {"held": plain(row.traded), "working": plain(working), "quantity": plain(asked.quantity)}


def _unvalued(asked: Asked) -> Missing:
    return Missing(
        "VALUE_UNKNOWN", f"the worth of what {asked.scope.scope} holds is not known: a fresh price is missing"
    )


def position_notional(asked: Asked) -> Measured | Missing:
    """Quote units that the symbol's position would be worth at worst."""
    worst = asked.row.worst_notional(asked.side, asked.notional)
    if worst is None:
        return _unvalued(asked)
    return _at_most("max_position_notional", worst, _cap(asked, "max_position_notional"), "position_notional")


def _worsts(asked: Asked, side: OrderSide) -> Mapping[str, Decimal | None]:
    rows = {row.symbol: row.worst_notional(side) for row in asked.scope.symbols}
    if side is asked.side:
        rows[asked.symbol] = asked.row.worst_notional(side, asked.notional)
    return rows


def gross_exposure(asked: Asked) -> Measured | Missing:
    """Worth of all positions at worst, long and short added up."""
    long, short = _worsts(asked, OrderSide.BUY), _worsts(asked, OrderSide.SELL)
    worst: dict[str, Decimal | None] = {}
    for symbol, buying in long.items():
        selling = short[symbol]
        worst[symbol] = max(buying, selling, ZERO) if buying is not None and selling is not None else None
    total = asked.scope.worth(worst)
    if total is None:
        return _unvalued(asked)
    return _at_most("max_gross_exposure", total, _cap(asked, "max_gross_exposure"), "gross_exposure")


def net_exposure(asked: Asked) -> Measured | Missing:
    """Worth of all positions at worst in the order's direction, long less short."""
    total = asked.scope.worth(_worsts(asked, asked.side))
    if total is None:
        return _unvalued(asked)
    return _at_most("max_net_exposure", total, _cap(asked, "max_net_exposure"), "net_exposure")


def concentration(asked: Asked) -> Measured | Missing:
    """Share of the gross exposure that the symbol would be; what is worth no more than one order may be all of it."""
    worst = _worsts(asked, asked.side)
    own, total = worst[asked.symbol], asked.scope.worth({name: _size(value) for name, value in worst.items()})
    rate = asked.row.rate
    if own is None or total is None or rate is None:
        return _unvalued(asked)
    share = EXACT.divide(multiply(max(own, ZERO), rate), total) if total else ZERO
    found = _at_most("max_concentration", share, _cap(asked, "max_concentration"), "concentration")
    floor = asked.scope.limits.max_order_notional
    return Measured(found.holds or (floor is not None and own <= floor), found.numbers)


def _size(value: Decimal | None) -> Decimal | None:
    return abs(value) if value is not None else None


def open_orders(asked: Asked) -> Measured:
    """Orders that have not ended, this one with them."""
    return _at_most(
        "max_open_orders", asked.scope.open_orders() + 1, asked.scope.limits.max_open_orders or 0, "open_orders"
    )


# How much in how long.


def order_rate(limit: str) -> Judge:
    """Admissions in a sliding window: the order that must be out of the window is."""

    def judge(asked: Asked) -> Measured:
        cap: int = getattr(asked.scope.limits, limit)
        earlier, window = asked.scope.earlier_admissions.get(limit), RATE_WINDOWS[limit]
        holds = cap > 0 and (earlier is None or earlier <= asked.now - window)
        numbers = {limit: str(cap), "window_s": str(int(window.total_seconds()))}
        if not holds and earlier is not None:
            numbers["free_again_at"] = (earlier + window).isoformat()
        return Measured(holds, numbers)

    return judge


def turnover(asked: Asked) -> Measured | Missing:
    """Worth of what was traded today and is worked now, with this order."""
    worths: dict[str, Decimal | None] = {
        row.symbol: add(row.turnover, add(row.buy_notional, row.sell_notional)) for row in asked.scope.symbols
    }
    worths[asked.symbol] = add(worths.get(asked.symbol) or ZERO, asked.notional)
    total = asked.scope.worth(worths)
    if total is None:
        return _unvalued(asked)
    return _at_most("max_turnover_per_day", total, _cap(asked, "max_turnover_per_day"), "turnover")


def duplicate(asked: Asked) -> Measured:
    """Whether an order like it was placed a moment ago."""
    twin, window_s = asked.exposure.twin, asked.scope.limits.duplicate_window_s or 0
    holds = twin is None or twin.placed_at <= asked.now - timedelta(seconds=window_s)
    numbers = {"twin": twin.order_id} if twin is not None else {}
    return Measured(holds, {**numbers, "duplicate_window_s": str(window_s)})


# What was lost.


def daily_loss(asked: Asked) -> Measured | Missing:
    """Loss since midnight UTC, with what open positions would lose now."""
    profit = asked.scope.profit(asked.scope.realized_today)
    if profit is None:
        return _unvalued(asked)
    cap, loss = _cap(asked, "max_daily_loss"), max(EXACT.minus(profit), ZERO)
    return Measured(loss < cap, {"loss": _text(loss), "max_daily_loss": plain(cap)})


def drawdown(asked: Asked) -> Measured | Missing:
    """Fall of the profit below its highest."""
    profit = asked.scope.profit(asked.scope.realized_total)
    if profit is None:
        return _unvalued(asked)
    cap, fall = _cap(asked, "max_drawdown"), max(subtract(asked.scope.peak_profit, profit), ZERO)
    return Measured(fall < cap, {"drawdown": _text(fall), "max_drawdown": plain(cap)})


def cooldown(asked: Asked) -> Measured:
    """Time since a stop closed a position in the symbol at a loss."""
    seconds = asked.scope.limits.cooldown_after_stop_s or 0
    stopped_at = asked.scope.stop_outs.last_in_symbol_at
    until = stopped_at + timedelta(seconds=seconds) if stopped_at is not None else None
    numbers = {"cooldown_after_stop_s": str(seconds), **({"until": until.isoformat()} if until else {})}
    return Measured(until is None or asked.now >= until, numbers)


def stop_outs(asked: Asked) -> Measured:
    """Stops at a loss in the window: at the limit, nothing more is opened."""
    cap, count = asked.scope.limits.max_stop_outs or 0, asked.scope.stop_outs.count
    window = asked.scope.limits.stop_out_window_s or STOP_OUT_WINDOW_S
    return Measured(count < cap, {"stop_outs": str(count), "max_stop_outs": str(cap), "window_s": str(window)})


def profit(asked: Asked) -> Measured:
    """What the symbol realized in the window; one that closed nothing in it may be opened."""
    cap, realized = _cap(asked, "min_profit"), asked.scope.realized_in_window
    window = asked.scope.limits.profit_window_s or PROFIT_WINDOW_S
    numbers = {"realized": plain(realized or ZERO), "min_profit": plain(cap), "window_s": str(window)}
    return Measured(realized is None or realized >= cap, numbers)


# Against ourselves, and asking a person.


def self_trade(asked: Asked) -> Measured:
    """Whether the order would trade with one of our own."""
    crossed = asked.exposure.crossed
    return Measured(not asked.scope.limits.forbid_self_trade or crossed is None, {"order_id": crossed or ""})


def approval(asked: Asked) -> Measured:
    """Whether the order is small enough to need nobody; else a person has so many seconds to approve it."""
    found = _at_most("approval_above_notional", asked.notional, _cap(asked, "approval_above_notional"), "notional")
    expires_s = asked.scope.limits.approval_expires_s or APPROVAL_EXPIRES_S
    return found if found.holds else Measured(False, {**found.numbers, "approval_expires_s": str(expires_s)})
