"""The controls of the gate, one row each: which limit, what is measured, and what it is called when it does not hold.

What is measured stands in `domain/measures.py`; the decision is that of `domain/risk.py`, from all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain import measures
from domain.limits import Limits
from domain.measures import (
    APPROVAL_EXPIRES_S,
    PROFIT_WINDOW_S,
    RATE_WINDOWS,
    STOP_OUT_WINDOW_S,
    Judge,
    Measured,
    Missing,
)


@dataclass(frozen=True)
class Control:
    """One row of the table. `reducing_passes`: whether an order that only reduces the position may pass it."""

    limit: str
    code: str
    text: str
    judge: Judge
    reducing_passes: bool = False
    asks_person: bool = False
    needs_ticker: bool = False
    needs_book: bool = False
    locks: bool = True
    """Whether it measures what other orders change, so that the scope must be locked."""


CONTROLS: Final[tuple[Control, ...]] = (
    Control(
        "allowed_symbols",
        "SYMBOL_NOT_ALLOWED",
        "the symbol is not on the allow list",
        measures.allowed_symbols,
        locks=False,
    ),
    Control("denied_symbols", "SYMBOL_DENIED", "the symbol is on the deny list", measures.denied_symbols, locks=False),
    Control(
        "trading_hours",
        "OUTSIDE_TRADING_HOURS",
        "orders are not taken at this time",
        measures.trading_hours,
        locks=False,
    ),
    Control(
        "max_order_quantity",
        "ORDER_QUANTITY_ABOVE_LIMIT",
        "the order is larger than the risk limit",
        measures.order_quantity,
        locks=False,
    ),
    Control(
        "max_order_notional",
        "ORDER_NOTIONAL_ABOVE_LIMIT",
        "the order is worth more than the risk limit",
        measures.order_notional,
        locks=False,
    ),
    Control(
        "max_price_deviation",
        "PRICE_OUTSIDE_BAND",
        "the price is too far from the market's",
        measures.price_deviation,
        needs_ticker=True,
        locks=False,
    ),
    Control(
        "max_slippage",
        "SLIPPAGE_ABOVE_LIMIT",
        "the book says that the order would move the price too far",
        measures.slippage,
        needs_book=True,
        locks=False,
    ),
    Control(
        "max_book_share",
        "BOOK_SHARE_ABOVE_LIMIT",
        "the order would take too much of the book",
        measures.book_share,
        needs_book=True,
        locks=False,
    ),
    Control("duplicate_window_s", "DUPLICATE_ORDER", "an order like it was placed a moment ago", measures.duplicate),
    Control(
        "forbid_self_trade", "SELF_TRADE", "the order would trade with a working order of ours", measures.self_trade
    ),
    Control(
        "max_position_quantity",
        "POSITION_QUANTITY_ABOVE_LIMIT",
        "the position could become larger than the risk limit",
        measures.position_quantity,
        reducing_passes=True,
    ),
    Control(
        "max_position_notional",
        "POSITION_NOTIONAL_ABOVE_LIMIT",
        "the position could become worth more than the risk limit",
        measures.position_notional,
        reducing_passes=True,
        needs_ticker=True,
    ),
    Control(
        "max_gross_exposure",
        "GROSS_EXPOSURE_ABOVE_LIMIT",
        "all positions could become worth more than the risk limit",
        measures.gross_exposure,
        reducing_passes=True,
        needs_ticker=True,
    ),
    Control(
        "max_net_exposure",
        "NET_EXPOSURE_ABOVE_LIMIT",
        "long less short could become worth more than the risk limit",
        measures.net_exposure,
        reducing_passes=True,
        needs_ticker=True,
    ),
    Control(
        "max_concentration",
        "CONCENTRATION_ABOVE_LIMIT",
        "too much would be in one symbol",
        measures.concentration,
        reducing_passes=True,
        needs_ticker=True,
    ),
    Control("max_open_orders", "OPEN_ORDERS_ABOVE_LIMIT", "too many orders have not ended", measures.open_orders),
    *(
        Control(limit, "ORDER_RATE_ABOVE_LIMIT", "too many orders in a short time", measures.order_rate(limit))
        for limit in RATE_WINDOWS
    ),
    Control(
        "max_turnover_per_day",
        "TURNOVER_ABOVE_LIMIT",
        "too much would be traded in a day",
        measures.turnover,
        reducing_passes=True,
        needs_ticker=True,
    ),
    Control(
        "max_daily_loss",
        "DAILY_LOSS_ABOVE_LIMIT",
        "too much was lost today",
        measures.daily_loss,
        reducing_passes=True,
        needs_ticker=True,
    ),
    Control(
        "max_drawdown",
        "DRAWDOWN_ABOVE_LIMIT",
        "the profit has fallen too far below its highest",
        measures.drawdown,
        reducing_passes=True,
        needs_ticker=True,
    ),
    Control(
        "cooldown_after_stop_s",
        "COOLDOWN_AFTER_STOP",
        "a stop closed a position in the symbol a moment ago",
        measures.cooldown,
        reducing_passes=True,
    ),
    Control(
        "max_stop_outs",
        "STOP_OUTS_ABOVE_LIMIT",
        "too many stops closed positions at a loss",
        measures.stop_outs,
        reducing_passes=True,
    ),
    Control(
        "min_profit",
        "PROFIT_BELOW_MINIMUM",
        "the symbol has realized too little",
        measures.profit,
        reducing_passes=True,
    ),
    Control(
        "approval_above_notional",
        "APPROVAL_REQUIRED",
        "an order of this worth needs a person's approval",
        measures.approval,
        asks_person=True,
        locks=False,
    ),
)
"""In the order in which they are asked; the first that does not hold is the answer's reason."""


@dataclass(frozen=True)
class Needs:
    """Market data that limits are measured by."""

    ticker: bool
    book: bool


def needs_of(limits: Iterable[Limits]) -> Needs:
    """Return what the controls of these limits need to know of the market."""
    asked = [control for own in limits for control in CONTROLS if getattr(own, control.limit) is not None]
    return Needs(
        ticker=any(control.needs_ticker for control in asked), book=any(control.needs_book for control in asked)
    )


__all__ = [
    "APPROVAL_EXPIRES_S",
    "CONTROLS",
    "PROFIT_WINDOW_S",
    "RATE_WINDOWS",
    "STOP_OUT_WINDOW_S",
    "Control",
    "Measured",
    "Missing",
    "Needs",
    "needs_of",
]
