"""Kraken's signed calls: balances, orders, trades."""

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from simulator.kraken.arguments import check_deadline, client_id, is_true, number, required, ticket_of, user_reference
from simulator.kraken.names import asset_id, read_id
from simulator.kraken.shown import HIDDEN, described, order_id, shown_order, shown_trade, trade_id
from simulator.kraken.words import INVALID_ORDER, UNKNOWN_ORDER, invalid, said
from simulator.listing import text
from simulator.orders import Trade, VenueOrder
from simulator.refusals import duplicate_order
from simulator.venue import Venue

Answer = Any
PAGE = 50
NAMED_MAX = 20
ADD = "/0/private/AddOrder"
CANCEL = "/0/private/CancelOrder"
HISTORY = "/0/private/TradesHistory"


def balance(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show what the account owns."""
    held = venue.engine.account
    return {asset_id(asset): text(held.free(asset) + held.locked(asset)) for asset in held.assets()}


def extended_balance(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show what the account owns, and what its orders hold of it."""
    held = venue.engine.account
    return {
        asset_id(asset): {
            "balance": text(held.free(asset) + held.locked(asset)),
            "hold_trade": text(held.locked(asset)),
        }
        for asset in held.assets()
    }


def add_order(venue: Venue, arguments: dict[str, str], asked: dict[str, str]) -> Answer:
    """Place an order, or only check it. `asked` is what faults are matched with."""
    check_deadline(arguments, venue.clock_ms(), on_arrival=False)
    ticket = ticket_of(arguments, HIDDEN + secrets.token_hex(8), venue.clock_ms())
    if any(order.is_open for order in venue.engine.with_client_id(ticket.client_order_id)):
        raise duplicate_order()
    if is_true(arguments, "validate"):
        venue.engine.check(ticket)
        return {"descr": {"order": described(ticket)["order"]}}
    order = venue.engine.place(ticket)
    now, key = venue.clock_ms(), (order.symbol, order.order_id)
    lag = venue.faults.strike("POST", ADD, asked, ("visibility_lag",))
    if lag is not None:
        venue.hidden_until_ms[key] = now + int(lag.seconds * 1000)
    lag = venue.faults.strike("POST", ADD, asked, ("fill_lag",))
    if lag is not None:
        venue.trade_lag_ms[key] = int(lag.seconds * 1000)
    return {"descr": {"order": described(order)["order"]}, "txid": [order_id(order)]}


def to_cancel(venue: Venue, arguments: dict[str, str]) -> list[VenueOrder]:
    """Return the open orders that a cancel names: one by its id, or those of a client id or number."""
    client_order_id, txid = client_id(arguments), arguments.get("txid") or ""
    if client_order_id is not None:
        named = venue.engine.with_client_id(client_order_id)
    elif txid.lstrip("-").isdigit():
        named = [order for order in _all(venue) if order.user_reference == int(txid)]
    else:
        named = [order for order in (_numbered(venue, required(arguments, "txid")),) if order is not None]
    return [order for order in named if order.is_open and venue.shown(order)]


def cancel_order(venue: Venue, arguments: dict[str, str], asked: dict[str, str]) -> Answer:
    """Cancel an order."""
    named = to_cancel(venue, arguments)
    for order in named:
        races = order.price and order.triggered
        if races and venue.faults.strike("POST", CANCEL, asked, ("cancel_race",)):
            venue.engine.fill_now(order, order.left)
    still = [order for order in named if order.is_open]
    if not still:
        raise said(UNKNOWN_ORDER)
    return {"count": len([venue.engine.cancel(order) for order in still])}


def cancel_all(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Cancel every open order."""
    found = [order for order in _all(venue) if order.is_open]
    return {"count": len([venue.engine.cancel(order) for order in found])}


def query_orders(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show orders by their ids."""
    names = required(arguments, "txid").split(",")
    found = [_numbered(venue, name) for name in names]
    if len(names) > NAMED_MAX:
        raise invalid("txid")
    shown = [order for order in found if order is not None and venue.shown(order)]
    if len(shown) < len(names):
        raise said(INVALID_ORDER)
    return {order_id(order): shown_order(order, with_trades=is_true(arguments, "trades")) for order in shown}


def open_orders(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show the open orders, all in one answer."""
    found = _picked(venue, arguments, lambda order: order.is_open)
    return {"open": {order_id(order): shown_order(order, with_trades=is_true(arguments, "trades")) for order in found}}


def closed_orders(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show a page of the orders that have ended, the latest first."""
    found = _picked(venue, arguments, lambda order: not order.is_open)
    start, end = number(arguments, "start", 0) * 1000, number(arguments, "end", 1e12) * 1000
    found = sorted((order for order in found if start < order.update_ms <= end), key=_closed_ms, reverse=True)
    first = int(number(arguments, "ofs", 0))
    page = found[first : first + PAGE]
    with_trades = is_true(arguments, "trades")
    return {
        "closed": {order_id(order): shown_order(order, with_trades=with_trades) for order in page},
        "count": len(found),
    }


def trades_history(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show a page of the account's trades, the latest first. `start` is left out of what it begins, `end` is in it."""
    start, end = number(arguments, "start", 0) * 1000, number(arguments, "end", 1e12) * 1000
    now = venue.clock_ms()
    found = [trade for trade in _trades(venue) if start < trade.time_ms <= end and venue.trade_shown(trade, now)]
    found.sort(key=lambda trade: (trade.time_ms, trade.trade_id), reverse=True)
    first = int(number(arguments, "ofs", 0))
    page = found[first : first + PAGE]
    if venue.faults.strike("POST", HISTORY, arguments, ("repeat_trades",)):
        page = [*reversed(page), *found[max(first - 3, 0) : first]]
    return {"trades": _shown(venue, page), "count": len(found)}


def query_trades(venue: Venue, arguments: dict[str, str]) -> Answer:
    """Show trades by their ids."""
    names, now = required(arguments, "txid").split(","), venue.clock_ms()
    wanted = [read_id("T", name) for name in names]
    if len(names) > NAMED_MAX or None in wanted:
        raise invalid("txid")
    found = [
        trade for trade in _trades(venue) if (trade.symbol, trade.trade_id) in wanted and venue.trade_shown(trade, now)
    ]
    if len(found) < len(set(names)):
        raise said("EQuery:Unknown trade")
    return _shown(venue, found)


def _all(venue: Venue) -> Iterable[VenueOrder]:
    return (order for orders in venue.engine.orders.values() for order in orders)


def _trades(venue: Venue) -> Iterable[Trade]:
    return (trade for trades in venue.engine.trades.values() for trade in trades)


def _shown(venue: Venue, trades: Iterable[Trade]) -> dict[str, object]:
    orders = venue.engine.orders
    return {trade_id(trade): shown_trade(trade, orders[trade.symbol][trade.order_id - 1]) for trade in trades}


def _closed_ms(order: VenueOrder) -> tuple[int, int]:
    return order.update_ms, order.order_id


def _numbered(venue: Venue, written: str) -> VenueOrder | None:
    named = read_id("O", written)
    if named is None or not 1 <= named[1] <= len(venue.engine.orders[named[0]]):
        return None
    return venue.engine.orders[named[0]][named[1] - 1]


def _picked(venue: Venue, arguments: dict[str, str], wanted: Callable[[VenueOrder], bool]) -> list[VenueOrder]:
    """Return the orders of a state that are shown, of one client id or number if such is given."""
    client_order_id, reference = client_id(arguments), user_reference(arguments)
    found = venue.engine.with_client_id(client_order_id) if client_order_id is not None else _all(venue)
    return [order for order in found if wanted(order) and venue.shown(order) and reference in (0, order.user_reference)]
