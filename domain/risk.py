"""The gate that every order passes: a pure check, and what it needs to know. The transaction around it is storage's.

Four answers, not two. Missing data is never ALLOW and never DENY: it is UNAVAILABLE.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import AwareDatetime

from domain.controls import CONTROLS, RATE_WINDOWS, Control, Missing
from domain.events import Reason
from domain.exposure import Asked, Exposure, ScopeFigures, Validated
from domain.identifiers import Account
from domain.instrument import Instrument, NormalTicket, deny, notional_denial
from domain.numbers import SCALE, Amount, Quantity, add, multiply, round_up_to_step
from domain.order import Frozen, OrderSide, OrderTicket, OrderType, TradingMode

MARKET_BUY_BUFFER = Decimal("0.01")
"""A market buy reserves this share more than the reference price says, for the book may move before it arrives."""


class Answer(StrEnum):
    """What the gate says."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    HOLD = "HOLD"
    UNAVAILABLE = "UNAVAILABLE"


class AccountTerms(Frozen):
    """What the configuration says of an account: its venue and its mode. Only the worker's counts."""

    account: Account
    exchange: str
    mode: TradingMode
    reconciled_since: AwareDatetime | None = None
    """If given, no order is admitted until the account was compared with its venue since it has been served; the
    ledger knows since when that is, and this is the fallback of a ledger that does not."""


class Reservation(Frozen):
    """What an order may use up at worst, in units of one asset."""

    asset: str
    amount: Quantity
    """With the commission, where the venue takes it in this asset."""
    fee_rate: Amount = Decimal(0)
    """That commission, per unit used."""


class Finding(Frozen):
    """One limit that was looked at: whose, what was measured, and what follows from it."""

    limit: str
    scope: str
    answer: Answer
    code: str
    """What it is called when it does not hold."""
    text: str
    numbers: Mapping[str, str] = {}
    shadow: bool = False
    """Whether it is only recorded."""

    def reason(self) -> Reason:
        """Return it as the reason of a decision."""
        return Reason(code=self.code, text=f"{self.text} ({self.scope})", numbers=dict(self.numbers))


class Decision(Frozen):
    """The gate's answer with the numbers that led to it; `reservation` is set with ALLOW and HOLD."""

    answer: Answer
    reason: Reason | None = None
    reservation: Reservation | None = None
    findings: tuple[Finding, ...] = ()
    """Every limit that was looked at, in the order of the table, the most specific scope first."""


HELD = tuple(
    control
    for control in CONTROLS
    if not control.asks_person and control.limit not in ("duplicate_window_s", *RATE_WINDOWS)
)
"""What an approved order is measured by again: it was counted in its windows when it was held."""


def check(
    ticket: OrderTicket,
    validated: Validated,
    *,
    exposure: Exposure,
    now: datetime,
    held: bool = False,
    outside: tuple[Finding, ...] = (),
) -> Decision:
    """Check a ticket that fits its instrument. Asks the most certain reasons first; all limits must hold.

    Parameters
    ----------
    now
        The ledger's time, for windows and hours.
    held
        The order was held and is approved now; what it counted for is not in `exposure`.
    outside
        What was found outside the table, by the risk agent: it can only make the answer stricter.
    """
    normal, instrument = validated.normal, validated.instrument
    if normal is None or instrument is None:
        unfit = validated.denial or deny("SYMBOL_UNKNOWN", "the venue's rules for the symbol are not known")
        return Decision(answer=Answer.DENY, reason=unfit)
    if exposure.kill_reason is not None:
        return _denied("KILL_SWITCH_ON", f"the kill switch is on: {exposure.kill_reason}")
    if not exposure.reconciled:
        return _unavailable("ACCOUNT_NOT_RECONCILED", "the account has not been compared with its venue yet")
    price = worst_price(ticket, normal, validated.reference_price)
    if price is None:
        return _unavailable("MARKET_PRICE_UNAVAILABLE", "the market gives no price for the symbol")
    bounds = notional_denial(multiply(normal.quantity, price), instrument)
    if bounds is not None:
        return Decision(answer=Answer.DENY, reason=bounds)
    controls = HELD if held else CONTROLS
    own = measured(ticket, validated, normal, price, exposure=exposure, now=now, controls=controls)
    findings = (*own, *outside)
    failed = _first_that_fails(findings)
    if failed is not None and failed.answer is not Answer.HOLD:
        return Decision(answer=failed.answer, reason=failed.reason(), findings=findings)
    balance = _balance_decision(ticket, normal.quantity, price, instrument, exposure)
    if failed is not None and balance.answer is Answer.ALLOW:
        balance = balance.model_copy(update={"answer": Answer.HOLD, "reason": failed.reason()})
    return balance.model_copy(update={"findings": findings})


def measured(
    ticket: OrderTicket,
    validated: Validated,
    normal: NormalTicket,
    price: Decimal,
    *,
    exposure: Exposure,
    now: datetime,
    controls: tuple[Control, ...] = CONTROLS,
) -> Iterator[Finding]:
    """Ask every control that a scope has a limit for, in the order of the table, the most specific scope first."""
    for control in controls:
        for scope in exposure.scopes:
            if getattr(scope.limits, control.limit) is not None:
                asked = Asked(
                    symbol=ticket.symbol,
                    side=ticket.side,
                    quantity=normal.quantity,
                    price=price,
                    limit_price=normal.price,
                    ticker=validated.ticker,
                    book=validated.book,
                    scope=scope,
                    exposure=exposure,
                    now=now,
                )
                yield _finding(control, asked)


def _finding(control: Control, asked: Asked) -> Finding:
    scope = asked.scope
    shadow = control.limit in (scope.limits.shadow or ())
    told = {"limit": control.limit, "scope": scope.scope, "shadow": shadow}
    if control.reducing_passes and asked.reduces:
        numbers = {"reduces": "true"}
        return Finding(answer=Answer.ALLOW, code=control.code, text=control.text, numbers=numbers, **told)
    found = control.judge(asked)
    if isinstance(found, Missing):
        return Finding(answer=Answer.UNAVAILABLE, code=found.code, text=found.text, **told)
    failing = Answer.HOLD if control.asks_person else Answer.DENY
    answer = Answer.ALLOW if found.holds else failing
    return Finding(answer=answer, code=control.code, text=control.text, numbers=dict(found.numbers), **told)


_WEIGHT = {Answer.DENY: 0, Answer.UNAVAILABLE: 1, Answer.HOLD: 2}


def _first_that_fails(findings: tuple[Finding, ...]) -> Finding | None:
    """Return the weightiest finding that does not hold: what is certain comes before what is missing."""
    failed = [finding for finding in findings if finding.answer is not Answer.ALLOW and not finding.shadow]
    return min(failed, key=lambda finding: _WEIGHT[finding.answer], default=None)


def worst_price(ticket: OrderTicket, normal: NormalTicket, reference_price: Decimal | None) -> Decimal | None:
    """Return the price, quote per base, that the order is measured at; `None` when it needs a market and has none."""
    return normal.price or normal.trigger_price or reference_price


def reservation_for(ticket: OrderTicket, instrument: Instrument, *, quantity: Decimal, price: Decimal) -> Reservation:
    """Return what the order may use up: quote units for a buy, with the commission taken in them; base for a sell."""
    if ticket.side is OrderSide.SELL:
        return Reservation(asset=instrument.base_asset, amount=quantity)
    notional = multiply(quantity, price)
    if ticket.order_type in (OrderType.MARKET, OrderType.STOP):
        notional = add(notional, multiply(notional, MARKET_BUY_BUFFER))
    fee_rate = (instrument.taker_rate if instrument.fee_in_quote else None) or Decimal(0)
    amount = round_up_to_step(multiply(notional, 1 + fee_rate), step=SCALE)
    return Reservation(asset=instrument.quote_asset, amount=amount, fee_rate=fee_rate)


AGAIN = tuple(control for control in CONTROLS if not control.locks and not control.asks_person)
"""What is asked once more before an order is sent anew: what the order alone, and the market, can have changed."""


def check_again(
    ticket: OrderTicket,
    validated: Validated,
    *,
    scopes: tuple[ScopeFigures, ...],
    reservation: Reservation | None,
    now: datetime,
) -> Reason | None:
    """Check what is sent anew, at today's price: limits, the venue's bounds, and what the order has reserved.

    `ticket` holds what is left of the order, which its scopes count already. Missing data denies: nothing of the order
    is at the venue.
    """
    normal, instrument = validated.normal, validated.instrument
    if normal is None or instrument is None:
        return validated.denial or deny("SYMBOL_UNKNOWN", "the venue's rules for the symbol are not known")
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
    exposure = Exposure(reconciled=True, available=None, scopes=scopes)
    found = tuple(measured(ticket, validated, normal, price, exposure=exposure, now=now, controls=AGAIN))
    failed = _first_that_fails(found)
    return failed.reason() if failed is not None else notional_denial(notional, instrument)


AMENDED = tuple(
    control
    for control in CONTROLS
    if not control.needs_book
    and control.limit not in ("max_price_deviation", "max_open_orders", "duplicate_window_s", *RATE_WINDOWS)
)
"""What an amendment is measured by: the order is admitted already, so it is no further order in any window."""


def check_amendment(
    ticket: OrderTicket, *, quantity: Decimal, price: Decimal, exposure: Exposure, now: datetime
) -> Reason | None:
    """Check new figures of a working order; its scopes must not count what it worked before.

    `quantity` is what would be left to trade. An order that would need an approval is placed anew, and approved then.
    """
    normal = NormalTicket(quantity=quantity, price=price, trigger_price=ticket.trigger_price)
    found = tuple(measured(ticket, Validated(), normal, price, exposure=exposure, now=now, controls=AMENDED))
    failed = _first_that_fails(found)
    return failed.reason() if failed is not None else None


def balance_denial(reservation: Reservation, available: Decimal) -> Reason:
    """Say that the balance does not reach, with both figures."""
    return deny(
        "BALANCE_INSUFFICIENT",
        f"not enough {reservation.asset} is free",
        asset=reservation.asset,
        needed=reservation.amount,
        available=available,
    )


def _balance_decision(
    ticket: OrderTicket, quantity: Decimal, price: Decimal, instrument: Instrument, exposure: Exposure
) -> Decision:
    reservation = reservation_for(ticket, instrument, quantity=quantity, price=price)
    if exposure.available is None:
        return _unavailable("ACCOUNT_NOT_RECONCILED", f"the venue has not told the balance of {reservation.asset}")
    if exposure.available < reservation.amount:
        return Decision(answer=Answer.DENY, reason=balance_denial(reservation, exposure.available))
    return Decision(answer=Answer.ALLOW, reservation=reservation)


def _denied(code: str, text: str, **numbers: str) -> Decision:
    return Decision(answer=Answer.DENY, reason=deny(code, text, **numbers))


def _unavailable(code: str, text: str) -> Decision:
    return Decision(answer=Answer.UNAVAILABLE, reason=deny(code, text))


__all__ = [
    "AccountTerms",
    "Answer",
    "Decision",
    "Exposure",
    "Finding",
    "Reservation",
    "Validated",
    "balance_denial",
    "check",
    "check_again",
    "check_amendment",
    "reservation_for",
    "worst_price",
]
