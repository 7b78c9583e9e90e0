"""What was asked (`OrderTicket`) and what happened (`Order`). `Order.apply(event)` is the only door to a change."""

import hashlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, model_validator

from domain.events import Commission, Fill, OrderEvent, Reason
from domain.identifiers import Account, OrderId, Symbol
from domain.lifecycle import TERMINAL, OrderEventType, OrderStatus, next_status
from domain.numbers import Notional, Price, Quantity, add, divide_to_scale, multiply, plain, subtract, to_scale
from domain.placement import Placement
from domain.triggers import Crossing, TriggerBy

Label = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]{1,64}$")]
"""Free text of the caller: printable ASCII, 1 to 64 characters. Data, never a format."""


class OrderSide(StrEnum):
    """Which way the base asset moves."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """How the order meets the market."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop-limit"


class TimeInForce(StrEnum):
    """How long it is worked. We end an order ourselves at its `expires_at`, which a GTD order has to have."""

    GTC = "GTC"
    GTD = "GTD"
    IOC = "IOC"
    FOK = "FOK"

    @property
    def rests(self) -> bool:
        """Tell whether what is not filled at once is left to rest. The venue is told GTC for both: the end is ours."""
        return self in (TimeInForce.GTC, TimeInForce.GTD)


class OnNeverPlaced(StrEnum):
    """What follows when an attempt is proven, or decided, never to have been placed."""

    RESUBMIT = "resubmit"
    """Send a new attempt, after price and expiry were checked again."""
    GIVE_UP = "give_up"
    """End the order; nothing is sent any more."""


class TradingMode(StrEnum):
    """Where an order goes. It carries the mode it was placed in for ever."""

    PAPER = "paper"
    SANDBOX = "sandbox"
    LIVE = "live"


class Frozen(BaseModel):
    """Base of all values: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OrderTicket(Frozen):
    """What a caller asks for. Figures are as asked, before any rounding.

    `quantity` is in base units, `price` and `trigger_price` in quote units per base unit. A market order may say
    `quote_amount`, in quote units, in place of `quantity`: what that makes in base units is found when it is validated.
    """

    symbol: Symbol
    side: OrderSide
    order_type: OrderType
    quantity: Quantity | None = None
    quote_amount: Notional | None = None
    price: Price | None = None
    trigger_price: Price | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    expires_at: AwareDatetime | None = None
    strategy: Label | None = None
    client_reference: Label | None = None
    on_never_placed: OnNeverPlaced = OnNeverPlaced.RESUBMIT
    trigger_by: TriggerBy = TriggerBy.LAST
    """Which price triggers a stop. A venue's own stops go by the last price; others are held by us."""

    @model_validator(mode="after")
    def _has_an_amount(self) -> Self:
        if self.quantity is None and self.quote_amount is None:
            raise ValueError("an order needs a quantity, or a market order an amount in quote units")
        return self

    def fingerprint(self) -> str:
        """Return a hash of everything asked: two tickets are the same ticket when their fingerprints are equal.

        What came later counts only where it is used, so that tickets from before it keep their fingerprints.
        """
        later = {name for name in _LATER if getattr(self, name) == type(self).model_fields[name].default}
        return hashlib.sha256(self.model_dump_json(exclude=later).encode()).hexdigest()

    def conditions(self) -> list[str]:
        """Name what the order is beside its type, as the venues' tables do: `IOC`, `FOK`, `post-only`."""
        words = [] if self.time_in_force.rests else [str(self.time_in_force)]
        return [*words, "post-only"] if self.post_only else words

    def summary(self) -> str:
        """Say the ticket in one line: `BUY 0.1 BTC/USDT @ 61250 LIMIT GTC`."""
        amount = plain(self.quantity) if self.quantity is not None else "?"
        if self.quote_amount is not None:
            amount = f"for {plain(self.quote_amount)} {self.symbol.partition('/')[2]}"
        words = [self.side.upper(), amount, self.symbol]
        if self.price is not None:
            words += ["@", plain(self.price)]
        if self.trigger_price is not None:
            words += ["trigger", plain(self.trigger_price)]
            words += ["by", self.trigger_by] if self.trigger_by is not TriggerBy.LAST else []
        words += [self.order_type.upper(), self.time_in_force]
        if self.post_only:
            words.append("POST-ONLY")
        if self.expires_at is not None:
            words.append(f"until {self.expires_at:%Y-%m-%d %H:%MZ}")
        return " ".join(words)


_LATER: Final = ("on_never_placed", "trigger_by", "quote_amount")
"""Fields that came after the first tickets were on record."""
_SENT_AS: Final = {OrderType.STOP: OrderType.MARKET, OrderType.STOP_LIMIT: OrderType.LIMIT}
"""What a stop becomes at its trigger."""


class Doubt(Frozen):
    """What is known of an order whose outcome is not: shown to people, and no fact of the order's life."""

    since: AwareDatetime
    last_looked_at: AwareDatetime | None = None
    """When the venue last gave a whole answer, and did not show the order."""
    fence_ends_at: AwareDatetime | None = None
    """From when "not found" is proof. `None` with `last_looked_at` set: never on this venue, a person decides."""


class Order(Frozen):
    """What happened to a ticket so far. Amounts are cumulative over all attempts; `None` means not known yet."""

    order_id: OrderId
    account: Account
    exchange: str
    mode: TradingMode
    ticket: OrderTicket
    idempotency_key: str | None = None
    requested_by: str | None = None
    """Who asked for it; `None` for orders from before this was kept."""
    quantity: Quantity
    """Base units to be worked: the ticket's, rounded down to the step, or as amended."""
    price: Price | None = None
    trigger_price: Price | None = None
    status: OrderStatus = OrderStatus.INITIALIZED
    seq: int = 0
    """Number of facts applied so far; rises by one with each."""
    attempt: int = 0
    client_order_id: str | None = None
    venue_order_id: str | None = None
    cum_qty: Quantity = Decimal(0)
    cum_quote_qty: Notional = Decimal(0)
    commissions: tuple[Commission, ...] = ()
    cancel_requested: bool = False
    amend_quantity: Quantity | None = None
    """Total quantity that a running amendment asks for; the order's own `quantity` changes when it is replaced."""
    amend_price: Price | None = None
    reason: Reason | None = None
    """Why it was denied, rejected, canceled or is in doubt; the latest such word."""
    needs_attention: bool = False
    doubt: Doubt | None = None
    """Set while the order is in doubt."""
    never_placed: bool = False
    """Whether the latest attempt never reached the venue, by proof after a doubt or by a person's decision."""
    sent_in_vain: int | None = None
    """Attempts in a row that came to nothing, since the venue last took one; `None` before the first of them."""
    owed_since: AwareDatetime | None = None
    """Since when the venue has said that more was filled than its trades show; `None` while they add up."""
    replaced_qty: Quantity = Decimal(0)
    """Base units filled by earlier attempts of an amended order."""
    rounded_from: Quantity | None = None
    """The quantity that was asked for, when it was rounded down to the venue's step."""
    placement: Placement | None = None
    """Where it is worked: at the venue, or held by us until its trigger; `None`: from before this was kept."""
    watch_since: AwareDatetime | None = None
    """From when on trades count for a stop that we hold, by the venue's time."""
    triggered: Crossing | None = None
    """What triggered a stop that we held."""
    finalized: bool = False
    created_at: AwareDatetime
    updated_at: AwareDatetime
    closed_at: AwareDatetime | None = None

    @property
    def leaves_qty(self) -> Decimal:
        """Base units still to be filled; zero once the order has ended."""
        if self.status in TERMINAL:
            return Decimal(0)
        return max(subtract(self.quantity, self.cum_qty), Decimal(0))

    @property
    def avg_px(self) -> Decimal | None:
        """Quote units per base unit over all fills; `None` before the first."""
        return divide_to_scale(self.cum_quote_qty, self.cum_qty) if self.cum_qty > 0 else None

    @property
    def is_buy(self) -> bool:
        """Tell whether the order buys."""
        return self.ticket.side is OrderSide.BUY

    @property
    def waits_for_trigger(self) -> bool:
        """Tell whether it is a stop that we hold, and its price has not come: nothing of it may be sent."""
        held = self.placement is Placement.HELD and self.triggered is None
        return held and self.status is OrderStatus.INITIALIZED

    @property
    def sent_as(self) -> OrderType:
        """What goes to the venue: of a stop that we hold, what it becomes."""
        held = self.placement is Placement.HELD
        return _SENT_AS.get(self.ticket.order_type, self.ticket.order_type) if held else self.ticket.order_type

    @property
    def is_final(self) -> bool:
        """Tell whether the order has ended."""
        return self.status in TERMINAL

    def apply(self, event: OrderEvent) -> Self:
        """Return the order after the event.

        Raises
        ------
        InvalidTransition
            When the lifecycle has no row for (status, event type).
        """
        status = next_status(self.status, event.event_type)
        changes: dict[str, object] = {
            "status": status,
            "seq": self.seq + 1,
            "updated_at": event.ts_event,
            **_CHANGES.get(event.event_type, _nothing_more)(self, event),
        }
        if self.doubt is not None and status is not OrderStatus.IN_DOUBT:
            changes["doubt"] = None
        if OrderStatus.HELD in (status, self.status):
            changes["needs_attention"] = status is OrderStatus.HELD
        if event.reason is not None:
            changes["reason"] = event.reason
        if status in TERMINAL and self.status not in TERMINAL:
            changes["closed_at"] = event.ts_event
        return self.model_copy(update=changes)


def _nothing_more(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {}


def _admitted(order: Order, event: OrderEvent) -> Mapping[str, object]:
    """Take over the quantity that fits the instrument, and where the order is worked."""
    placed: dict[str, object] = {}
    if event.placement is not None:
        placed = {"placement": event.placement, "watch_since": event.watch_since}
    if event.quantity is None or event.quantity == order.quantity:
        return placed
    asked = order.quantity if order.ticket.quantity is not None else None
    return {**placed, "quantity": event.quantity, "rounded_from": asked}


def _triggered(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {"triggered": event.crossing}


def _submitted(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {
        "attempt": event.attempt,
        "client_order_id": event.client_order_id,
        "venue_order_id": None,
        "needs_attention": False,
        "never_placed": False,
    }


def _known_to_venue(order: Order, event: OrderEvent) -> Mapping[str, object]:
    known: dict[str, object] = {"needs_attention": False, "sent_in_vain": 0}
    return {**known, "venue_order_id": event.venue_order_id} if event.venue_order_id else known


def _filled(order: Order, event: OrderEvent) -> Mapping[str, object]:
    fill = event.fill
    if fill is None:
        raise ValueError(f"{event.event_type} carries no fill")
    return {
        "cum_qty": add(order.cum_qty, fill.last_qty),
        "cum_quote_qty": add(order.cum_quote_qty, to_scale(multiply(fill.last_qty, fill.last_px))),
        "commissions": _with_commission(order.commissions, fill),
        **({} if order.venue_order_id else {"venue_order_id": fill.venue_order_id}),
    }


def _with_commission(commissions: tuple[Commission, ...], fill: Fill) -> tuple[Commission, ...]:
    if fill.commission is None or fill.commission_asset is None:
        return commissions
    by_asset = {entry.asset: entry.amount for entry in commissions}
    by_asset[fill.commission_asset] = add(by_asset.get(fill.commission_asset, Decimal(0)), fill.commission)
    return tuple(Commission(asset=asset, amount=by_asset[asset]) for asset in sorted(by_asset))


def _cancel_requested(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {"cancel_requested": True}


def _amend_requested(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {"amend_quantity": event.quantity, "amend_price": event.price}


def _replaced(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {
        "quantity": order.amend_quantity or order.quantity,
        "price": order.amend_price or order.price,
        "amend_quantity": None,
        "amend_price": None,
        "venue_order_id": None,
        "replaced_qty": order.cum_qty,
        "sent_in_vain": 0,
    }


def _in_doubt(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {"needs_attention": True, "doubt": Doubt(since=event.ts_event)}


def _not_sent(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {"sent_in_vain": (order.sent_in_vain or 0) + 1}


def _never_placed(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {**_not_sent(order, event), "never_placed": True, "needs_attention": False}


def _finalized(order: Order, event: OrderEvent) -> Mapping[str, object]:
    return {"finalized": True}


_CHANGES: Mapping[OrderEventType, Callable[[Order, OrderEvent], Mapping[str, object]]] = {
    OrderEventType.ADMITTED: _admitted,
    OrderEventType.HELD: _admitted,
    OrderEventType.TRIGGERED: _triggered,
    OrderEventType.SUBMITTED: _submitted,
    OrderEventType.ACCEPTED: _known_to_venue,
    OrderEventType.PARTIALLY_FILLED: _filled,
    OrderEventType.FILLED: _filled,
    OrderEventType.CANCEL_REQUESTED: _cancel_requested,
    OrderEventType.AMEND_REQUESTED: _amend_requested,
    OrderEventType.REPLACED: _replaced,
    OrderEventType.SUBMIT_UNKNOWN: _in_doubt,
    OrderEventType.NOT_SENT: _not_sent,
    OrderEventType.NEVER_PLACED: _never_placed,
    OrderEventType.FINALIZED: _finalized,
}


class OrderRequest(Frozen):
    """A ticket with its name and its origin: what a workflow is started with. The mode is the worker's to say."""

    order_id: OrderId
    account: Account
    ticket: OrderTicket
    idempotency_key: str | None = None
    requested_by: str = "anonymous"
    requested_at: AwareDatetime

    def new_order(self, *, exchange: str, mode: TradingMode) -> Order:
        """Make the order, with nothing recorded yet."""
        ticket = self.ticket
        return Order(
            order_id=self.order_id,
            account=self.account,
            exchange=exchange,
            mode=mode,
            ticket=ticket,
            idempotency_key=self.idempotency_key,
            requested_by=self.requested_by,
            quantity=ticket.quantity or Decimal(0),
            price=ticket.price,
            trigger_price=ticket.trigger_price,
            created_at=self.requested_at,
            updated_at=self.requested_at,
        )
