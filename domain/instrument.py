"""The venue's rules for one symbol, and the checks a ticket must pass against them."""

from datetime import datetime
from decimal import Decimal

from domain.events import Reason
from domain.numbers import (
    Amount,
    Notional,
    Price,
    Quantity,
    divide_to_scale,
    is_multiple,
    multiply,
    plain,
    round_down_to_step,
)
from domain.order import Frozen, OrderTicket, OrderType, TimeInForce
from domain.triggers import TriggerBy


class Instrument(Frozen):
    """A symbol's rules at its venue. `None` means that the venue sets no such limit."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: Price
    step_size: Quantity
    min_quantity: Quantity | None = None
    max_quantity: Quantity | None = None
    min_price: Price | None = None
    max_price: Price | None = None
    min_notional: Notional | None = None
    max_notional: Notional | None = None
    maker_rate: Amount | None = None
    taker_rate: Amount | None = None
    fee_in_quote: bool = False
    """Whether the venue takes a buy's commission in quote units, on top of the price."""
    active: bool = True
    lacks: tuple[str, ...] = ()
    """Order types and conditions (`stop`, `post-only`, …) that the venue does not take for this symbol."""


class NormalTicket(Frozen):
    """A ticket that fits the instrument. `quantity` may be smaller than asked, never larger."""

    quantity: Quantity
    price: Price | None
    trigger_price: Price | None
    rounded_from: Quantity | None = None
    """The quantity that was asked for, when it was rounded down to the step."""


def deny(code: str, text: str, **numbers: Decimal | str) -> Reason:
    """Make a reason whose numbers are text."""
    return Reason(
        code=code,
        text=text,
        numbers={name: value if isinstance(value, str) else plain(value) for name, value in numbers.items()},
    )


def normalize(
    ticket: OrderTicket, instrument: Instrument, *, now: datetime, quote_price: Decimal | None = None
) -> NormalTicket | Reason:
    """Fit a ticket to the instrument, or say why it cannot be: the first rule that it breaks, with both numbers.

    Parameters
    ----------
    quote_price
        For a ticket that says its amount in quote units: what a base unit costs on average, quote per base.
    """
    shape = _shape_denial(ticket, now)
    if shape is not None:
        return shape
    asked = ticket.quantity
    if ticket.quote_amount is not None:
        if quote_price is None:
            return deny("MARKET_PRICE_UNAVAILABLE", "the market gives no price for the symbol")
        asked = divide_to_scale(ticket.quote_amount, quote_price)
    assert asked is not None, "a ticket has one of the two"
    quantity = round_down_to_step(asked, step=instrument.step_size)
    denial = (
        _quantity_denial(asked, quantity, instrument)
        or _price_denial("price", ticket.price, instrument)
        or _price_denial("trigger_price", ticket.trigger_price, instrument)
        or _notional_denial(ticket, quantity, instrument)
    )
    if denial is not None:
        return denial
    return NormalTicket(
        quantity=quantity,
        price=ticket.price,
        trigger_price=ticket.trigger_price,
        rounded_from=ticket.quantity if ticket.quantity is not None and quantity != ticket.quantity else None,
    )


def _shape_denial(ticket: OrderTicket, now: datetime) -> Reason | None:
    if ticket.quote_amount is not None and (ticket.quantity is not None or ticket.order_type is not OrderType.MARKET):
        text = "only a market order says its amount in quote units, and then no other"
        return deny("QUOTE_AMOUNT_SUPERFLUOUS", text, quote_amount=ticket.quote_amount)
    return _price_shape_denial(ticket) or _trigger_denial(ticket) or _time_denial(ticket, now)


def _price_shape_denial(ticket: OrderTicket) -> Reason | None:
    priced = ticket.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    if priced and ticket.price is None:
        return deny("PRICE_MISSING", f"a {ticket.order_type} order needs a price")
    if not priced and ticket.price is not None:
        return deny("PRICE_SUPERFLUOUS", f"a {ticket.order_type} order takes no price", price=ticket.price)
    return None


def _trigger_denial(ticket: OrderTicket) -> Reason | None:
    triggered = ticket.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    if triggered and ticket.trigger_price is None:
        return deny("TRIGGER_PRICE_MISSING", f"a {ticket.order_type} order needs a stop price")
    if not triggered and ticket.trigger_price is not None:
        return deny(
            "TRIGGER_PRICE_SUPERFLUOUS",
            f"a {ticket.order_type} order takes no stop price",
            trigger_price=ticket.trigger_price,
        )
    if not triggered and ticket.trigger_by is not TriggerBy.LAST:
        return deny("TRIGGER_BY_SUPERFLUOUS", f"a {ticket.order_type} order is not triggered")
    return None


def _time_denial(ticket: OrderTicket, now: datetime) -> Reason | None:
    lasting = ticket.time_in_force.rests
    if ticket.post_only and (ticket.order_type is not OrderType.LIMIT or not lasting):
        return deny("POST_ONLY_IMPOSSIBLE", "only a GTC or GTD limit order can be post-only")
    gtd = ticket.time_in_force is TimeInForce.GTD
    if (ticket.order_type is not OrderType.LIMIT and not lasting) or (ticket.order_type is OrderType.MARKET and gtd):
        return deny("TIME_IN_FORCE_IMPOSSIBLE", f"a {ticket.order_type} order takes no {ticket.time_in_force}")
    if gtd and ticket.expires_at is None:
        return deny("EXPIRES_AT_MISSING", "a GTD order needs the time at which it ends")
    if ticket.expires_at is not None and ticket.expires_at <= now:
        return deny("EXPIRES_IN_PAST", "the order would have expired already", expires_at=ticket.expires_at.isoformat())
    return None


def _quantity_denial(asked: Decimal, quantity: Decimal, instrument: Instrument) -> Reason | None:
    if asked == 0:
        return deny("QUANTITY_ZERO", "the quantity must be above zero", quantity=asked)
    if quantity == 0:
        return deny(
            "QUANTITY_BELOW_STEP",
            "the quantity is smaller than one step",
            quantity=asked,
            step_size=instrument.step_size,
        )
    if instrument.min_quantity is not None and quantity < instrument.min_quantity:
        return deny(
            "QUANTITY_BELOW_MINIMUM",
            "the venue takes no smaller quantity",
            quantity=quantity,
            min_quantity=instrument.min_quantity,
        )
    if instrument.max_quantity is not None and quantity > instrument.max_quantity:
        return deny(
            "QUANTITY_ABOVE_MAXIMUM",
            "the venue takes no larger quantity",
            quantity=quantity,
            max_quantity=instrument.max_quantity,
        )
    return None


def _price_denial(name: str, price: Decimal | None, instrument: Instrument) -> Reason | None:
    if price is None:
        return None
    if price == 0:
        return deny("PRICE_ZERO", f"{name} must be above zero", **{name: price})
    if not is_multiple(price, step=instrument.tick_size):
        below = round_down_to_step(price, step=instrument.tick_size)
        return deny(
            "PRICE_OFF_TICK",
            f"{name} is no whole number of ticks; the nearest below is {plain(below)}",
            **{name: price, "tick_size": instrument.tick_size, "nearest_below": below},
        )
    if instrument.min_price is not None and price < instrument.min_price:
        return deny(
            "PRICE_BELOW_MINIMUM", "the venue takes no lower price", **{name: price, "min_price": instrument.min_price}
        )
    if instrument.max_price is not None and price > instrument.max_price:
        return deny(
            "PRICE_ABOVE_MAXIMUM", "the venue takes no higher price", **{name: price, "max_price": instrument.max_price}
        )
    return None


def _notional_denial(ticket: OrderTicket, quantity: Decimal, instrument: Instrument) -> Reason | None:
    """Check priced orders; a market order's notional needs a market price, which the risk gate has."""
    price = ticket.price or ticket.trigger_price
    return notional_denial(multiply(quantity, price), instrument) if price is not None else None


def notional_denial(notional: Decimal, instrument: Instrument) -> Reason | None:
    """Check a notional, in quote units, against the venue's bounds."""
    if instrument.min_notional is not None and notional < instrument.min_notional:
        return deny(
            "NOTIONAL_BELOW_MINIMUM",
            "the venue takes no smaller order",
            notional=notional,
            min_notional=instrument.min_notional,
        )
    if instrument.max_notional is not None and notional > instrument.max_notional:
        return deny(
            "NOTIONAL_ABOVE_MAXIMUM",
            "the venue takes no larger order",
            notional=notional,
            max_notional=instrument.max_notional,
        )
    return None
