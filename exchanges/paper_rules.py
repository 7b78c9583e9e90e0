"""What the paper venue refuses, and what can be said of a submission and the market without changing anything."""

from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime, ValidationError

from domain.events import Reason
from domain.instrument import Instrument, deny, normalize
from domain.numbers import SCALE, Amount, Price, is_multiple, multiply, plain
from domain.order import Frozen, OrderSide, OrderTicket
from domain.paper_ports import PaperOrder
from domain.reports import OrderBook, Submission, VenueOrderStatus

DISOWNED: Final = "CLIENT_ORDER_ID_DISOWNED"
"""Code of the answer to an order whose absence was confirmed before it came."""
_ZERO: Final = Decimal(0)


class Market(Frozen):
    """What the venue shows of a symbol at one look, and the account's rates there.

    `last` is needed for stop orders only; `None` triggers nothing.
    """

    instrument: Instrument
    book: OrderBook
    last: Price | None = None
    maker_rate: Amount
    """Share of what is bought, 0 or more and below 1."""
    taker_rate: Amount
    now: AwareDatetime


def denial(submission: Submission, market: Market) -> Reason | None:
    """Refuse what the venue's own rules refuse; our gate has checked most of it, and a venue checks again."""
    instrument = market.instrument
    try:
        ticket = OrderTicket.model_validate(submission.model_dump(exclude={"client_order_id", "signed_at"}))
    except ValidationError as error:
        return deny("ORDER_UNREADABLE", "; ".join(str(part["msg"]) for part in error.errors()))
    if not instrument.active:
        return deny("SYMBOL_NOT_TRADING", f"{submission.symbol} is not trading now")
    normal = normalize(ticket, instrument, now=market.now)
    if isinstance(normal, Reason):
        return normal
    if normal.rounded_from is not None:
        return deny(
            "QUANTITY_OFF_STEP",
            "the quantity is no whole number of steps",
            quantity=submission.quantity,
            step_size=instrument.step_size,
        )
    if not is_multiple(multiply(instrument.tick_size, instrument.step_size), step=SCALE):
        return deny(
            "PRECISION_UNSUPPORTED",
            "tick times step needs more than 18 digits after the point",
            tick_size=instrument.tick_size,
            step_size=instrument.step_size,
        )
    return _crossing_denial(submission, market)


def _crossing_denial(submission: Submission, market: Market) -> Reason | None:
    opposite = market.book.asks if submission.side == OrderSide.BUY else market.book.bids
    if submission.post_only and opposite and submission.price is not None and crosses(submission, opposite[0].price):
        return deny(
            "POST_ONLY_WOULD_TAKE",
            "a post-only order may not take from the book",
            price=submission.price,
            best_price=opposite[0].price,
        )
    if submission.trigger_price is not None and meets_trigger(submission, market.last):
        return deny(
            "TRIGGER_PRICE_PASSED",
            "the last price has met the trigger already",
            trigger_price=submission.trigger_price,
            last_price=plain(market.last or _ZERO),
        )
    return None


def reused_id_denial(existing: PaperOrder, submission: Submission) -> Reason | None:
    """Refuse a client order id that names another order; the time of signing may differ."""
    if existing.submission == submission.model_copy(update={"signed_at": existing.submission.signed_at}):
        return None
    return deny(
        "CLIENT_ORDER_ID_REUSED",
        "the client order id belongs to another order",
        client_order_id=submission.client_order_id,
        venue_order_id=existing.venue_order_id,
    )


def is_dormant(order: PaperOrder) -> bool:
    """Tell whether an open order waits for its trigger."""
    is_open = order.status is VenueOrderStatus.OPEN
    return is_open and order.submission.trigger_price is not None and not order.triggered


def meets_trigger(submission: Submission, last: Decimal | None) -> bool:
    """Tell whether the last price is at the trigger or beyond: above for a buy, below for a sell."""
    if last is None or submission.trigger_price is None:
        return False
    if submission.side == OrderSide.BUY:
        return last >= submission.trigger_price
    return last <= submission.trigger_price


def crosses(submission: Submission, level_price: Decimal) -> bool:
    """Tell whether the order would trade at a level of the other side; without a price it trades at any."""
    if submission.price is None:
        return True
    return level_price <= submission.price if submission.side == OrderSide.BUY else level_price >= submission.price


def spent_asset(submission: Submission) -> str:
    """Return the asset that the order pays with: quote for a buy, base for a sell."""
    base, _, quote = submission.symbol.partition("/")
    return quote if submission.side == OrderSide.BUY else base


def bought_asset(submission: Submission) -> str:
    """Return the asset that the order is paid in, which the commission is taken from."""
    base, _, quote = submission.symbol.partition("/")
    return base if submission.side == OrderSide.BUY else quote
