"""Signed calls that place, cancel and show orders."""

import secrets
from typing import Any

from simulator.orders import Ticket, VenueOrder
from simulator.parameters import client_id, integer, required, symbol_of, ticket_of
from simulator.refusals import Refusal, no_such_order, unknown_order
from simulator.venue import Venue

Answer = Any
PAGE = 500
PAGE_MAX = 1000
DAY_MS = 86_400_000
RESPONSES = ("ACK", "RESULT", "FULL")
MODES = ("STOP_ON_FAILURE", "ALLOW_FAILURE")


def new_order(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Place an order."""
    ticket = ticket_of(parameters, _generated_id())
    kind = parameters.get("newOrderRespType") or ("FULL" if ticket.type in ("MARKET", "LIMIT") else "ACK")
    if kind not in RESPONSES:
        raise Refusal(-1136, "Invalid newOrderRespType.")
    return _place(venue, ticket, parameters).new_order_answer(kind)


def test_order(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Check an order as if it were placed."""
    venue.engine.check(ticket_of(parameters, _generated_id()))
    return {}


def query_order(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show an order, open or ended."""
    order = _named(venue, parameters)
    if not venue.shown(order):
        raise no_such_order()
    return order.wire()


def cancel_order(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Cancel an order."""
    cancel_id = client_id(parameters, "newClientOrderId", _generated_id())
    return _cancel(venue, parameters).canceled_answer(cancel_id)


def cancel_replace(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Cancel an order and place another. Filters are checked before anything is canceled, as at Binance."""
    ticket, mode = ticket_of(parameters, _generated_id()), required(parameters, "cancelReplaceMode")
    if mode not in MODES:
        raise Refusal(-1102, "Mandatory parameter 'cancelReplaceMode' was not sent, was empty/null, or malformed.")
    names = {"cancelOrderId": "orderId", "cancelOrigClientOrderId": "origClientOrderId"}
    named = {"symbol": ticket.symbol} | {to: parameters[name] for name, to in names.items() if name in parameters}
    cancel_id = client_id(parameters, "cancelNewClientOrderId", _generated_id())
    _order_id(named)
    venue.engine.check(ticket)
    outcome: dict[str, Any] = {"newOrderResult": "NOT_ATTEMPTED", "newOrderResponse": None}
    try:
        outcome |= {"cancelResult": "SUCCESS", "cancelResponse": _cancel(venue, named).canceled_answer(cancel_id)}
    except Refusal as refusal:
        outcome |= {"cancelResult": "FAILURE", "cancelResponse": refusal.wire()}
    if outcome["cancelResult"] == "SUCCESS" or mode == "ALLOW_FAILURE":
        try:
            placed = _place(venue, ticket, parameters).new_order_answer(parameters.get("newOrderRespType") or "FULL")
            outcome |= {"newOrderResult": "SUCCESS", "newOrderResponse": placed}
        except Refusal as refusal:
            outcome |= {"newOrderResult": "FAILURE", "newOrderResponse": refusal.wire()}
    succeeded = [outcome[name] == "SUCCESS" for name in ("cancelResult", "newOrderResult")]
    if all(succeeded):
        return outcome
    if any(succeeded):
        raise Refusal(-2021, "Order cancel-replace partially failed.", status=409, data=outcome)
    raise Refusal(-2022, "Order cancel-replace failed.", data=outcome)


def open_orders(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the open orders of one symbol or all."""
    symbols = [symbol_of(parameters)] if "symbol" in parameters else venue.engine.open
    return [order.wire() for symbol in symbols for order in venue.engine.open[symbol].values() if venue.shown(order)]


def cancel_all(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Cancel the open orders of a symbol."""
    orders = list(venue.engine.open[symbol_of(parameters)].values())
    if not orders:
        raise unknown_order()
    return [venue.engine.cancel(order).canceled_answer(_generated_id()) for order in orders]


def all_orders(venue: Venue, parameters: dict[str, str]) -> Answer:
    """Show the orders of a symbol, open and ended."""
    symbol = symbol_of(parameters)
    start, end = window(parameters)
    first = integer(parameters, "orderId", 0)
    found = [
        order
        for order in venue.engine.orders[symbol][max(first - 1, 0) :]
        if start <= order.time_ms <= end and venue.shown(order)
    ]
    limit = page_length(parameters)
    return [order.wire() for order in (found[:limit] if first or start else found[-limit:])]


def window(parameters: dict[str, str]) -> tuple[int, int]:
    """Return the first and last millisecond that are asked for. Raises `Refusal` beyond a day."""
    start, end = integer(parameters, "startTime", 0), integer(parameters, "endTime", 1 << 62)
    if parameters.get("startTime") and parameters.get("endTime") and end - start > DAY_MS:
        raise Refusal(-1127, "More than 24 hours between startTime and endTime.")
    return start, end


def page_length(parameters: dict[str, str]) -> int:
    """Return how many entries may be answered, 1 to 1000."""
    return max(min(integer(parameters, "limit", PAGE), PAGE_MAX), 1)


def _place(venue: Venue, ticket: Ticket, parameters: dict[str, str]) -> VenueOrder:
    venue.gate.check_order_limits()
    order = venue.engine.place(ticket)
    venue.gate.count_order()
    now, key = venue.clock_ms(), (order.symbol, order.order_id)
    lag = venue.faults.strike("POST", "/api/v3/order", parameters, ("visibility_lag",))
    if lag is not None:
        venue.hidden_until_ms[key] = now + int(lag.seconds * 1000)
    lag = venue.faults.strike("POST", "/api/v3/order", parameters, ("fill_lag",))
    if lag is not None:
        venue.trade_lag_ms[key] = int(lag.seconds * 1000)
    return order


def _cancel(venue: Venue, parameters: dict[str, str]) -> VenueOrder:
    try:
        order = _named(venue, parameters)
    except Refusal as refusal:
        raise unknown_order() if refusal.code == no_such_order().code else refusal from None
    if not venue.shown(order):
        raise unknown_order()
    races = order.is_open and order.price and order.triggered
    if races and venue.faults.strike("DELETE", "/api/v3/order", venue.subject(parameters), ("cancel_race",)):
        venue.engine.fill_now(order, order.left)
    return venue.engine.cancel(order)


def _named(venue: Venue, parameters: dict[str, str]) -> VenueOrder:
    symbol, order_id = symbol_of(parameters), _order_id(parameters)
    return venue.engine.find(symbol, order_id, parameters.get("origClientOrderId") or None)


def _order_id(parameters: dict[str, str]) -> int | None:
    if not parameters.get("orderId") and not parameters.get("origClientOrderId"):
        raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return integer(parameters, "orderId", 0) if parameters.get("orderId") else None


def _generated_id() -> str:
    return secrets.token_hex(11)
