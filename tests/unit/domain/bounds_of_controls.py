"""The bound of each control of the gate: a limit, an order that is just within, and what makes it just too much."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from domain.controls import CONTROLS
from domain.exposure import Exposure, ScopeFigures, StopOuts, SymbolExposure, Twin, Validated
from domain.instrument import NormalTicket
from domain.limits import Limits
from domain.order import OrderSide, OrderType
from domain.reports import BookLevel, OrderBook, Ticker
from domain.risk import Decision, Finding, check, measured, worst_price
from tests.factories import NOW, make_instrument, make_ticket

D = Decimal
BUY, SELL = OrderSide.BUY, OrderSide.SELL
OWN: Final = "BTC/USDT"
DOLLAR: Final = D(1)


def row(symbol: str = OWN, held: str = "0", *, mark: str | None = "100", **changes: Any) -> SymbolExposure:
    """What a scope holds of a symbol, counted and priced alike."""
    figures = {"amount": D(held), "traded": D(held), "mark": D(mark) if mark else None, "rate": DOLLAR}
    return SymbolExposure(symbol=symbol, **{**figures, **changes})


def ticker(bid: str | None = "99", ask: str | None = "101", *, age_s: float = 0, last: str | None = None) -> Ticker:
    """The market around 100."""
    prices = {name: D(text) if text else None for name, text in {"bid": bid, "ask": ask, "last": last}.items()}
    return Ticker(symbol=OWN, ts_event=NOW - timedelta(seconds=age_s), **prices)


def levels(*written: tuple[str, str]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(price=D(price), quantity=D(quantity)) for price, quantity in written)


BOOK: Final = OrderBook(
    symbol=OWN,
    asks=levels(("100", "1"), ("102", "1"), ("104", "2")),
    bids=levels(("100", "1"), ("98", "1"), ("96", "2")),
    ts_event=NOW,
)


def book_of(*, age_s: float) -> OrderBook:
    """The same book, of a while ago."""
    return BOOK.model_copy(update={"ts_event": NOW - timedelta(seconds=age_s)})


ONE_SIDED: Final = BOOK.model_copy(update={"asks": ()})


class Order(NamedTuple):
    """An order and what is known when it is asked for. `price` of `None`: a market order at 100."""

    side: OrderSide = BUY
    quantity: str = "1"
    price: str | None = "100"
    rows: tuple[SymbolExposure, ...] = (row(),)
    ticker: Ticker | None = ticker()
    book: OrderBook | None = BOOK
    figures: Mapping[str, Any] = {}
    """Further figures of the scope."""
    known: Mapping[str, Any] = {}
    """Further figures of the exposure."""
    clock: timedelta = timedelta(0)


def asked(order: Order, limits: Mapping[str, Any]) -> tuple[Any, Validated, Exposure]:
    price = D(order.price) if order.price else None
    kind = OrderType.LIMIT if price else OrderType.MARKET
    ticket = make_ticket(side=order.side, order_type=kind, quantity=D(order.quantity), price=price)
    normal = NormalTicket(quantity=ticket.quantity, price=price, trigger_price=None)
    validated = Validated(
        normal=normal,
        instrument=make_instrument(min_notional=None),
        reference_price=D(100),
        ticker=order.ticker,
        book=order.book,
    )
    scope = ScopeFigures(scope="account:a", limits=Limits(**limits), symbols=order.rows, **order.figures)
    return ticket, validated, Exposure(reconciled=True, available=D(10**9), scopes=(scope,), **order.known)


def found(order: Order, limits: Mapping[str, Any], limit: str) -> Finding:
    """Return what the limit's control says."""
    ticket, validated, exposure = asked(order, limits)
    assert validated.normal is not None
    price = worst_price(ticket, validated.normal, validated.reference_price)
    assert price is not None
    findings = measured(ticket, validated, validated.normal, price, exposure=exposure, now=NOW + order.clock)
    (finding,) = [finding for finding in findings if finding.limit == limit]
    return finding


def decided(order: Order, limits: Mapping[str, Any]) -> Decision:
    ticket, validated, exposure = asked(order, limits)
    return check(ticket, validated, exposure=exposure, now=NOW + order.clock)


class Bound(NamedTuple):
    """A limit, an order that is just within it, and what makes it one unit too much."""

    limit: str
    cap: Any
    within: Order
    beyond: Mapping[str, Any]
    numbers: Mapping[str, str]
    """What the denial tells."""
    more: Mapping[str, Any] = {}
    """Further limits of the scope."""


ETH: Final = "ETH/USDT"
SHORT_ETHER: Final = row(ETH, "-2", mark="50")
LONG_ETHER: Final = row(ETH, "2", mark="50")
ALMOST: Final = timedelta(microseconds=1)
CAPPED: Final = {OWN: "3"}
SECOND: Final = timedelta(seconds=1)


def admitted(limit: str, ago: timedelta) -> Mapping[str, Any]:
    return {"earlier_admissions": {limit: NOW - ago}}


def stopped(ago: timedelta) -> Mapping[str, Any]:
    return {"stop_outs": StopOuts(count=1, last_in_symbol_at=NOW - ago)}


def like_it(ago: timedelta) -> Mapping[str, Any]:
    return {"twin": Twin(order_id="a" * 16, placed_at=NOW - ago)}


BOUNDS: Final = {
    "quantity": Bound("max_order_quantity", "2", Order(quantity="2"), {"quantity": "2.0001"}, {"quantity": "2.0001"}),
    "notional": Bound("max_order_notional", "200", Order(quantity="2"), {"price": "100.01"}, {"notional": "200.02"}),
    "market order's notional": Bound(
        "max_order_notional", "200", Order(quantity="2", price=None), {"quantity": "2.0001"}, {"notional": "200.01"}
    ),
    "buy above the market": Bound(
        "max_price_deviation", "0.05", Order(price="105"), {"price": "105.01"}, {"market": "100"}
    ),
    "buy below the market": Bound(
        "max_price_deviation", "0.05", Order(price="95"), {"price": "94.99"}, {"deviation": "0.0501"}
    ),
    "sell above the market": Bound(
        "max_price_deviation", "0.05", Order(SELL, price="105"), {"price": "105.01"}, {"deviation": "0.0501"}
    ),
    "sell below the market": Bound(
        "max_price_deviation", "0.05", Order(SELL, price="95"), {"price": "94.99"}, {"price": "94.99"}
    ),
    "market of bids alone": Bound(
        "max_price_deviation",
        "0.05",
        Order(price="105", ticker=ticker("100", None)),
        {"price": "105.01"},
        {"market": "100"},
    ),
    "market of trades alone": Bound(
        "max_price_deviation",
        "0.05",
        Order(price="95", ticker=ticker(None, None, last="100")),
        {"price": "94.99"},
        {"market": "100"},
    ),
    "market order in the book": Bound(
        "max_slippage", "0.01", Order(quantity="2", price=None), {"quantity": "2.0001"}, {"max_slippage": "0.01"}
    ),
    "market sell in the book": Bound(
        "max_slippage", "0.01", Order(SELL, "2", None), {"quantity": "2.0001"}, {"max_slippage": "0.01"}
    ),
    "limit through the book": Bound(
        "max_slippage", "0.01", Order(quantity="4", price="102"), {"price": "104"}, {"slippage": "0.025"}
    ),
    "sell limit through the book": Bound(
        "max_slippage", "0.01", Order(SELL, "4", "98"), {"price": "96"}, {"slippage": "0.025"}
    ),
    "limit that rests": Bound(
        "max_slippage", "0", Order(quantity="9", price="99"), {"price": "102", "quantity": "2"}, {"slippage": "0.01"}
    ),
    "more than the book": Bound(
        "max_slippage", "0.03", Order(quantity="4", price=None), {"quantity": "4.0001"}, {"in_book": "4"}
    ),
    "share of the book": Bound(
        "max_book_share", "0.25", Order(quantity="1"), {"quantity": "1.0001"}, {"book_share": "0.250025"}
    ),
    "long": Bound(
        "max_position_quantity",
        CAPPED,
        Order(rows=(row(held="1", working_buy=D(1), working_sell=D(9)),)),
        {"quantity": "1.0001"},
        {"held": "1", "working": "1", "quantity": "1.0001", "position": "3.0001"},
    ),
    "short": Bound(
        "max_position_quantity",
        CAPPED,
        Order(SELL, rows=(row(held="-1", working_sell=D(1), working_buy=D(9)),)),
        {"quantity": "1.0001"},
        {"held": "-1", "working": "1", "position": "3.0001"},
    ),
    "long to short": Bound(
        "max_position_quantity",
        CAPPED,
        Order(SELL, "13", rows=(row(held="10"),)),
        {"quantity": "13.0001"},
        {"position": "3.0001"},
    ),
    "short to long": Bound(
        "max_position_quantity", CAPPED, Order(BUY, "13", rows=(row(held="-10"),)), {"quantity": "13.0001"}, {}
    ),
    "worth of a long": Bound(
        "max_position_notional",
        "300",
        Order(rows=(row(held="1", buy_notional=D(100)),)),
        {"price": "100.01"},
        {"position_notional": "300.01"},
    ),
    "worth of a short": Bound(
        "max_position_notional",
        "300",
        Order(SELL, rows=(row(held="-1", sell_notional=D(100)),)),
        {"quantity": "1.0001"},
        {"position_notional": "300.01"},
    ),
    "worth of what is not held": Bound(
        "max_position_notional", "100", Order(rows=(row(mark=None),)), {"quantity": "1.0001"}, {}
    ),
    "gross": Bound(
        "max_gross_exposure",
        "300",
        Order(rows=(row(held="1"), SHORT_ETHER)),
        {"price": "100.01"},
        {"gross_exposure": "300.01"},
    ),
    "gross in another currency": Bound(
        "max_gross_exposure",
        "400",
        Order(rows=(row(held="1"), row("ETH/BTC", "-2", mark="10", rate=D(10)))),
        {"price": "100.01"},
        {"gross_exposure": "400.01"},
    ),
    "net long": Bound(
        "max_net_exposure",
        "100",
        Order(rows=(row(held="1"), SHORT_ETHER)),
        {"price": "100.01"},
        {"net_exposure": "100.01"},
    ),
    "net short": Bound("max_net_exposure", "200", Order(SELL, rows=(row(), SHORT_ETHER)), {"quantity": "1.0001"}, {}),
    "concentration": Bound(
        "max_concentration",
        "0.5",
        Order(rows=(row(), LONG_ETHER)),
        {"quantity": "1.0001"},
        {"max_concentration": "0.5"},
    ),
    "all in one, worth an order": Bound(
        "max_concentration",
        "0.5",
        Order(rows=(row(buy_notional=D(100)),)),
        {"rows": (row(buy_notional=D("100.01")),)},
        {"concentration": "1"},
        {"max_order_notional": "200"},
    ),
    "open orders": Bound(
        "max_open_orders",
        3,
        Order(rows=(row(open_orders=1), row(ETH, open_orders=1))),
        {"rows": (row(open_orders=2), row(ETH, open_orders=1))},
        {"open_orders": "4"},
    ),
    **{
        f"per {word}": Bound(
            limit,
            5,
            Order(figures=admitted(limit, window)),
            {"figures": admitted(limit, window - ALMOST)},
            {limit: "5", "free_again_at": (NOW + ALMOST).isoformat()},
        )
        for word, limit, window in (
            ("second", "max_orders_per_second", SECOND),
            ("minute", "max_orders_per_minute", SECOND * 60),
            ("day", "max_orders_per_day", SECOND * 86_400),
        )
    },
    "turnover": Bound(
        "max_turnover_per_day",
        "500",
        Order(rows=(row(turnover=D(200), buy_notional=D(60), sell_notional=D(40)), row(ETH, turnover=D(100)))),
        {"price": "100.01"},
        {"turnover": "500.01"},
    ),
    "loss of the day": Bound(
        "max_daily_loss",
        "100",
        Order(figures={"realized_today": D("-99.99")}),
        {"figures": {"realized_today": D(-100)}},
        {"loss": "100"},
    ),
    "loss of a long with it": Bound(
        "max_daily_loss",
        "100",
        Order(rows=(row(held="1", cost=D("150")),), figures={"realized_today": D("-49.99")}),
        {"figures": {"realized_today": D(-50)}},
        {"loss": "100"},
    ),
    "loss of a short in it": Bound(
        "max_daily_loss",
        "50",
        Order(rows=(row(), row(ETH, "-1", mark="149.99", cost=D(-100)))),
        {"rows": (row(), row(ETH, "-1", mark="150", cost=D(-100)))},
        {"loss": "50"},
    ),
    "drawdown": Bound(
        "max_drawdown",
        "100",
        Order(figures={"peak_profit": D(100), "realized_total": D("0.01")}),
        {"figures": {"peak_profit": D(100), "realized_total": D(0)}},
        {"drawdown": "100"},
    ),
    "cooldown": Bound(
        "cooldown_after_stop_s",
        60,
        Order(figures=stopped(SECOND * 60)),
        {"figures": stopped(SECOND * 60 - ALMOST)},
        {"until": (NOW + ALMOST).isoformat()},
    ),
    "stop-outs": Bound(
        "max_stop_outs",
        2,
        Order(figures={"stop_outs": StopOuts(count=1)}),
        {"figures": {"stop_outs": StopOuts(count=2)}},
        {"stop_outs": "2", "window_s": "86400"},
    ),
    "profit": Bound(
        "min_profit",
        "10",
        Order(figures={"realized_in_window": D(10)}),
        {"figures": {"realized_in_window": D("9.99")}},
        {"realized": "9.99"},
    ),
    "allow list": Bound("allowed_symbols", (OWN, ETH), Order(), {}, {"allowed": f"{OWN}, {ETH}"}),
    "deny list": Bound("denied_symbols", (ETH,), Order(), {}, {"symbol": OWN}),
    "hours": Bound("trading_hours", "tue 08:00-12:01", Order(), {"clock": SECOND * 60}, {"now": "Tue 12:01"}),
    "twin": Bound(
        "duplicate_window_s",
        5,
        Order(known=like_it(SECOND * 5)),
        {"known": like_it(SECOND * 5 - ALMOST)},
        {"twin": "a" * 16},
    ),
    "self-trade": Bound("forbid_self_trade", True, Order(), {"known": {"crossed": "b" * 16}}, {"order_id": "b" * 16}),
    "approval": Bound(
        "approval_above_notional",
        "100",
        Order(),
        {"price": "100.01"},
        {"notional": "100.01", "approval_expires_s": "900"},
    ),
}
LISTS: Final = {"allowed_symbols": (ETH,), "denied_symbols": (ETH, OWN)}
"""What makes a list refuse the order: there is nothing about the order to change."""
BY_NAME: Final = {control.limit: control for control in CONTROLS}


def limits_of(bound: Bound, *, beyond: bool = False) -> Mapping[str, Any]:
    return {**bound.more, bound.limit: LISTS.get(bound.limit, bound.cap) if beyond else bound.cap}


def told_beyond(bound: Bound) -> Mapping[str, str]:
    return bound.numbers if bound.limit != "allowed_symbols" else {"allowed": ETH}
