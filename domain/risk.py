"""The gate that every order passes: a pure check, and what it needs to know. The transaction around it is storage's.

Four answers, not two. Missing data is never ALLOW and never DENY: it is UNAVAILABLE.
"""

from decimal import Decimal
from enum import StrEnum

from pydantic import AwareDatetime

from domain.events import Reason
from domain.identifiers import Account
from domain.instrument import Instrument, NormalTicket, deny, notional_denial
from domain.numbers import SCALE, Notional, Price, Quantity, add, multiply, round_up_to_step
from domain.order import Frozen, OrderSide, OrderTicket, OrderType, TradingMode

MARKET_BUY_BUFFER = Decimal("0.01")
"""A market buy reserves this share more than the reference price says, for the book may move before it arrives."""


class Answer(StrEnum):
    """What the gate says."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    HOLD = "HOLD"
    UNAVAILABLE = "UNAVAILABLE"


class Limits(Frozen):
    """Limits of one account. `None`, or no symbols, means no such limit."""

    max_order_notional: Notional | None = None
    """Quote units of one order."""
    max_order_quantity: Quantity | None = None
    """Base units of one order."""
    allowed_symbols: tuple[str, ...] = ()


class AccountTerms(Frozen):
    """What the configuration says of an account: its venue, its mode and its limits. Only the worker's counts."""

    account: Account
    exchange: str
    mode: TradingMode
    limits: Limits = Limits()
    reconciled_since: AwareDatetime | None = None
    """If given, no order is admitted until the account was compared with its venue since it has been served; the
    ledger knows since when that is, and this is the fallback of a ledger that does not."""


class Exposure(Frozen):
    """What the ledger knows in the admitting transaction."""

    kill_reason: str | None = None
    """Why the kill switch is on; `None` while it is off."""
    reconciled: bool
    """Whether the account's first look at its venue has passed since the start."""
    available: Quantity | None
    """Units of the asset to be spent that are neither used nor reserved; `None` when the venue has not told."""


class Validated(Frozen):
    """What `validate` found out at the venue's side: the fitted ticket, or the denial, and the figures behind it."""

    normal: NormalTicket | None = None
    denial: Reason | None = None
    instrument: Instrument | None = None
    reference_price: Price | None = None
    """Quote units per base unit: what the order would cost now; `None` when the market gives no price."""


class Reservation(Frozen):
    """What an order may use up at worst, in units of one asset."""

    asset: str
    amount: Quantity


class Decision(Frozen):
    """The gate's answer with the numbers that led to it; `reservation` is set with ALLOW and HOLD."""

    answer: Answer
    reason: Reason | None = None
    reservation: Reservation | None = None


def check(ticket: OrderTicket, validated: Validated, *, exposure: Exposure, limits: Limits) -> Decision:
    """Check a ticket that fits its instrument. Asks the most certain reasons first."""
    normal, instrument = validated.normal, validated.instrument
    if normal is None or instrument is None:
        unfit = validated.denial or deny("INSTRUMENT_UNKNOWN", "the venue's rules for the symbol are not known")
        return Decision(answer=Answer.DENY, reason=unfit)
    if exposure.kill_reason is not None:
        return _denied("KILL_SWITCH_ON", f"the kill switch is on: {exposure.kill_reason}")
    if limits.allowed_symbols and ticket.symbol not in limits.allowed_symbols:
        return _denied("SYMBOL_NOT_ALLOWED", "the symbol is not on the allow list", symbol=ticket.symbol)
    if not exposure.reconciled:
        return _unavailable("ACCOUNT_NOT_RECONCILED", "the account has not been compared with its venue yet")
    price = worst_price(ticket, normal, validated.reference_price)
    if price is None:
        return _unavailable("MARKET_PRICE_UNAVAILABLE", "the market gives no price for the symbol")
    notional = multiply(normal.quantity, price)
    reason = size_denial(normal.quantity, notional, limits) or notional_denial(notional, instrument)
    if reason is not None:
        return Decision(answer=Answer.DENY, reason=reason)
    return _balance_decision(ticket, normal.quantity, price, instrument, exposure)


def worst_price(ticket: OrderTicket, normal: NormalTicket, reference_price: Decimal | None) -> Decimal | None:
    """Return the price, quote per base, that the order is measured at; `None` when it needs a market and has none."""
    return normal.price or normal.trigger_price or reference_price


def reservation_for(ticket: OrderTicket, instrument: Instrument, *, quantity: Decimal, price: Decimal) -> Reservation:
    """Return what the order may use up: quote units for a buy, base units for a sell."""
    if ticket.side is OrderSide.SELL:
        return Reservation(asset=instrument.base_asset, amount=quantity)
    notional = multiply(quantity, price)
    if ticket.order_type in (OrderType.MARKET, OrderType.STOP):
        notional = add(notional, multiply(notional, MARKET_BUY_BUFFER))
    return Reservation(asset=instrument.quote_asset, amount=round_up_to_step(notional, step=SCALE))


def check_again(
    ticket: OrderTicket, validated: Validated, *, limits: Limits, reservation: Reservation | None
) -> Reason | None:
    """Check what is sent anew, at today's price: limits, the venue's bounds, and what the order has reserved.

    `ticket` holds what is left of the order. Missing data denies: nothing of the order is at the venue.
    """
    normal, instrument = validated.normal, validated.instrument
    if normal is None or instrument is None:
        return validated.denial or deny("INSTRUMENT_UNKNOWN", "the venue's rules for the symbol are not known")
    price = worst_price(ticket, normal, validated.reference_price)
    if price is None:
        return deny("MARKET_PRICE_UNAVAILABLE", "the market gives no price for the symbol")
    notional = multiply(normal.quantity, price)
    reserved = reservation.amount if reservation is not None else Decimal(0)
    needed = normal.quantity if ticket.side is OrderSide.SELL else notional
    if needed > reserved:
        return deny(
            "RESERVATION_EXCEEDED",
            "at today's price the order would use up more than it has reserved",
            needed=needed,
            reserved=reserved,
            price=price,
        )
    return size_denial(normal.quantity, notional, limits) or notional_denial(notional, instrument)


def balance_denial(reservation: Reservation, available: Decimal) -> Reason:
    """Say that the balance does not reach, with both figures."""
    return deny(
        "BALANCE_INSUFFICIENT",
        f"not enough {reservation.asset} is free",
        asset=reservation.asset,
        needed=reservation.amount,
        available=available,
    )


def size_denial(quantity: Decimal, notional: Decimal, limits: Limits) -> Reason | None:
    """Check base units and quote units of one order against the account's limits."""
    if limits.max_order_quantity is not None and quantity > limits.max_order_quantity:
        return deny(
            "ORDER_QUANTITY_ABOVE_LIMIT",
            "the order is larger than the risk limit",
            quantity=quantity,
            max_order_quantity=limits.max_order_quantity,
        )
    if limits.max_order_notional is not None and notional > limits.max_order_notional:
        return deny(
            "ORDER_NOTIONAL_ABOVE_LIMIT",
            "the order is worth more than the risk limit",
            notional=notional,
            max_order_notional=limits.max_order_notional,
        )
    return None


def _balance_decision(
    ticket: OrderTicket, quantity: Decimal, price: Decimal, instrument: Instrument, exposure: Exposure
) -> Decision:
    reservation = reservation_for(ticket, instrument, quantity=quantity, price=price)
    if exposure.available is None:
        return _unavailable("BALANCE_UNAVAILABLE", f"the venue has not told the balance of {reservation.asset}")
    if exposure.available < reservation.amount:
        return Decision(answer=Answer.DENY, reason=balance_denial(reservation, exposure.available))
    return Decision(answer=Answer.ALLOW, reservation=reservation)


def _denied(code: str, text: str, **numbers: str) -> Decision:
    return Decision(answer=Answer.DENY, reason=deny(code, text, **numbers))


def _unavailable(code: str, text: str) -> Decision:
    return Decision(answer=Answer.UNAVAILABLE, reason=deny(code, text))
