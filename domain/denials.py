"""Every code by which an order is denied: what it means, what to do, and the numbers that come with it.

A denial is ours: nothing was sent. `docs/denials.md` is generated from this table; a test holds it to the code, and
another brings each code about through the REST interface.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from domain.controls import CONTROLS


class Denial(NamedTuple):
    """One code. `example` holds the numbers that it comes with, as they stand in `reason.numbers`."""

    code: str
    meaning: str
    what_to_do: str
    example: Mapping[str, str]
    unavailable: bool = False
    """Nothing is known rather than wrong: it is asked again for a minute before the order is denied."""


_SHAPE: Final = (
    Denial("PRICE_MISSING", "a limit or stop-limit order needs a price", "Give a price.", {}),
    Denial("PRICE_SUPERFLUOUS", "a market or stop order takes no price", "Leave the price out.", {"price": "61250"}),
    Denial("TRIGGER_PRICE_MISSING", "a stop or stop-limit order needs a stop price", "Give a stop price.", {}),
    Denial(
        "TRIGGER_PRICE_SUPERFLUOUS",
        "a market or limit order takes no stop price",
        "Leave the stop price out.",
        {"trigger_price": "61250"},
    ),
    Denial(
        "QUOTE_AMOUNT_SUPERFLUOUS",
        "only a market order says its amount in quote units, and then no other",
        "Give one of the two.",
        {"quote_amount": "100"},
    ),
    Denial("TRIGGER_BY_SUPERFLUOUS", "only a stop order is triggered", "Leave trigger_by out.", {}),
    Denial("POST_ONLY_IMPOSSIBLE", "only a GTC or GTD limit order can be post-only", "Leave post_only out.", {}),
    Denial("TIME_IN_FORCE_IMPOSSIBLE", "the order type takes no such time in force", "Leave time_in_force out.", {}),
    Denial("EXPIRES_AT_MISSING", "a GTD order needs the time at which it ends", "Give expires_at.", {}),
    Denial(
        "EXPIRES_IN_PAST",
        "the order would have expired already",
        "Give a later time.",
        {"expires_at": "2026-11-24T12:00:00+00:00"},
    ),
)
_INSTRUMENT: Final = (
    Denial("SYMBOL_UNKNOWN", "the venue does not list the symbol", "Use a symbol that the venue lists.", {}),
    Denial("SYMBOL_NOT_TRADING", "the venue does not trade the symbol now", "Wait until it does.", {}),
    Denial("QUANTITY_ZERO", "the quantity is zero", "Give a quantity above zero.", {"quantity": "0"}),
    Denial(
        "QUANTITY_BELOW_STEP",
        "the quantity is smaller than one step",
        "Give at least one step.",
        {"quantity": "0.000001", "step_size": "0.00001"},
    ),
    Denial(
        "QUANTITY_BELOW_MINIMUM",
        "the venue takes no smaller quantity",
        "Give at least the minimum.",
        {"quantity": "0.00001", "min_quantity": "0.0001"},
    ),
    Denial(
        "QUANTITY_ABOVE_MAXIMUM",
        "the venue takes no larger quantity",
        "Give at most the maximum, or split the order.",
        {"quantity": "10000", "max_quantity": "9000"},
    ),
    Denial("PRICE_ZERO", "a price of zero", "Give a price above zero.", {"price": "0"}),
    Denial(
        "PRICE_OFF_TICK",
        "the price is no whole number of ticks",
        "Give a whole number of ticks.",
        {"price": "61250.005", "tick_size": "0.01", "nearest_below": "61250"},
    ),
    Denial(
        "PRICE_BELOW_MINIMUM",
        "the venue takes no lower price",
        "Give a higher price.",
        {"price": "0.01", "min_price": "1"},
    ),
    Denial(
        "PRICE_ABOVE_MAXIMUM",
        "the venue takes no higher price",
        "Give a lower price.",
        {"price": "2000000", "max_price": "1000000"},
    ),
    Denial(
        "NOTIONAL_BELOW_MINIMUM",
        "the venue takes no order worth less",
        "Give more quantity.",
        {"notional": "4.9", "min_notional": "5"},
    ),
    Denial(
        "NOTIONAL_ABOVE_MAXIMUM",
        "the venue takes no order worth more",
        "Give less quantity, or split the order.",
        {"notional": "10000000", "max_notional": "9000000"},
    ),
)
_PLACEMENT: Final = (
    Denial(
        "ORDER_TYPE_NOT_SUPPORTED",
        "the venue does not take such an order as it is meant, and we do not hold it",
        "Use what `docs/venues.md` shows for the venue.",
        {"order": "post-only"},
    ),
    Denial(
        "TRIGGER_PRICE_PASSED",
        "the market has met the trigger of a stop that we would hold",
        "Send a market or limit order, or give another stop price.",
        {"trigger_price": "44000", "market_price": "43950"},
    ),
)
_ACCOUNT: Final = (
    Denial("KILL_SWITCH_ON", "a kill switch is on", "Find out why; `volex kill list`.", {}),
    Denial(
        "BALANCE_INSUFFICIENT",
        "the free balance does not reach",
        "Place less, or cancel what has reserved it.",
        {"asset": "USDT", "needed": "100", "available": "7.5"},
    ),
    Denial(
        "ACCOUNT_NOT_RECONCILED",
        "the account was not compared with its venue since the start",
        "Wait; `volex doctor` says what keeps it.",
        {},
        unavailable=True,
    ),
    Denial(
        "MARKET_PRICE_UNAVAILABLE",
        "the market gives no price for the symbol",
        "Wait, or place a limit order.",
        {},
        unavailable=True,
    ),
    Denial(
        "MARKET_DATA_STALE",
        "the market's last word on the symbol is too old",
        "Wait; look at the venue's status.",
        {},
        unavailable=True,
    ),
    Denial("BOOK_UNAVAILABLE", "the venue does not show an order book", "Wait.", {}, unavailable=True),
    Denial(
        "VALUE_UNKNOWN",
        "what the scope holds cannot be valued: a fresh price is missing",
        "Wait, or close what has no market.",
        {},
        unavailable=True,
    ),
    Denial("VENUE_UNAVAILABLE", "the venue did not tell its rules in time", "Try again later.", {}, unavailable=True),
)
_AGENT: Final = (
    Denial(
        "RISK_AGENT_DENIED",
        "the external risk agent does not let the order pass",
        "Read the agent's reason in the numbers, and ask who runs it.",
        {"reason": "the market is too thin", "took_ms": "12"},
    ),
    Denial(
        "RISK_AGENT_ASKS_PERSON",
        "the external risk agent wants a person to approve the order",
        "Wait: another person approves it, `volex approvals list`. It is held, not denied.",
        {"reason": "the first order of a new symbol", "took_ms": "12"},
    ),
    Denial(
        "RISK_AGENT_UNAVAILABLE",
        "the external risk agent gives no answer, or none that is signed and readable",
        "Look at the agent: the cause is in the numbers.",
        {"cause": "TIMEOUT", "took_ms": "1000"},
        unavailable=True,
    ),
)
_LIMITS_EXAMPLE: Final[Mapping[str, Mapping[str, str]]] = {
    "SYMBOL_NOT_ALLOWED": {"symbol": "ETH/USDT", "allowed": "BTC/USDT"},
    "SYMBOL_DENIED": {"symbol": "ETH/USDT"},
    "OUTSIDE_TRADING_HOURS": {"now": "Sat 12:00", "trading_hours": "mon-fri 08:00-17:30"},
    "ORDER_QUANTITY_ABOVE_LIMIT": {"quantity": "2", "max_order_quantity": "1"},
    "ORDER_NOTIONAL_ABOVE_LIMIT": {"notional": "122500", "max_order_notional": "100000"},
    "PRICE_OUTSIDE_BAND": {
        "price": "70000",
        "market": "61250",
        "deviation": "0.142857142857142857",
        "max_price_deviation": "0.05",
    },
    "SLIPPAGE_ABOVE_LIMIT": {"slippage": "0.012", "max_slippage": "0.01"},
    "BOOK_SHARE_ABOVE_LIMIT": {"book_share": "0.4", "max_book_share": "0.25"},
    "DUPLICATE_ORDER": {"twin": "a1b2c3d4e5f60718", "duplicate_window_s": "10"},
    "SELF_TRADE": {"order_id": "a1b2c3d4e5f60718"},
    "POSITION_QUANTITY_ABOVE_LIMIT": {
        "held": "3.2",
        "working": "0.017",
        "quantity": "0.001",
        "position": "3.218",
        "max_position_quantity": "3.217",
    },
    "POSITION_NOTIONAL_ABOVE_LIMIT": {"position_notional": "51000", "max_position_notional": "50000"},
    "GROSS_EXPOSURE_ABOVE_LIMIT": {"gross_exposure": "210000", "max_gross_exposure": "200000"},
    "NET_EXPOSURE_ABOVE_LIMIT": {"net_exposure": "110000", "max_net_exposure": "100000"},
    "CONCENTRATION_ABOVE_LIMIT": {"concentration": "0.62", "max_concentration": "0.5"},
    "OPEN_ORDERS_ABOVE_LIMIT": {"open_orders": "21", "max_open_orders": "20"},
    "ORDER_RATE_ABOVE_LIMIT": {
        "max_orders_per_minute": "60",
        "window_s": "60",
        "free_again_at": "2026-11-24T12:00:07.125000+00:00",
    },
    "TURNOVER_ABOVE_LIMIT": {"turnover": "1000100", "max_turnover_per_day": "1000000"},
    "DAILY_LOSS_ABOVE_LIMIT": {"loss": "512.4", "max_daily_loss": "500"},
    "DRAWDOWN_ABOVE_LIMIT": {"drawdown": "2040", "max_drawdown": "2000"},
    "COOLDOWN_AFTER_STOP": {"cooldown_after_stop_s": "600", "until": "2026-11-24T12:10:00+00:00"},
    "STOP_OUTS_ABOVE_LIMIT": {"stop_outs": "4", "max_stop_outs": "4", "window_s": "86400"},
    "PROFIT_BELOW_MINIMUM": {"realized": "-12", "min_profit": "0", "window_s": "86400"},
    "APPROVAL_REQUIRED": {"notional": "61250", "approval_above_notional": "50000", "approval_expires_s": "900"},
}
_ADVICE: Final[Mapping[str, str]] = {
    "APPROVAL_REQUIRED": "Wait: another person approves it, `volex approvals list`. It is held, not denied.",
    "DUPLICATE_ORDER": "Look at the twin; if you want both, wait out the window.",
    "ORDER_RATE_ABOVE_LIMIT": "Wait until the time in the numbers.",
}
_FROM_LIMITS: Final = tuple(
    Denial(
        code,
        text,
        _ADVICE.get(code, "Place less, wait, or have the limit changed: `volex risk show`."),
        _LIMITS_EXAMPLE[code],
    )
    for code, text in {control.code: control.text for control in CONTROLS}.items()
)

DENIALS: Final[Mapping[str, Denial]] = {
    denial.code: denial for denial in (*_SHAPE, *_INSTRUMENT, *_PLACEMENT, *_ACCOUNT, *_FROM_LIMITS, *_AGENT)
}

__all__ = ["DENIALS", "Denial"]
