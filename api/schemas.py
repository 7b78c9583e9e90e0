"""The wire's shapes. Only here do the REST interface's own names (`amount`, `filled`, `cost`) meet the domain's."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from api.errors import WrongFields
from api.numbers import JsonNumber
from api.problems import as_numbers, wrong_fields
from domain.approvals import next_for_held
from domain.decisions import Because, Ending, VenueOrderId
from domain.events import Reason
from domain.identifiers import order_workflow_id
from domain.lifecycle import OrderStatus
from domain.numbers import subtract
from domain.order import Label, OnNeverPlaced, Order, OrderSide, OrderTicket, OrderType, TimeInForce, TradingMode
from domain.placement import Placement
from domain.triggers import TriggerBy
from workflows.order_display import next_for_waiting, next_in_doubt

Body = TypeVar("Body", bound=BaseModel)


_ZEROS: Final = {
    "amount": ("QUANTITY_ZERO", "quantity"),
    "quote_amount": ("QUANTITY_ZERO", "quote_amount"),
    "price": ("PRICE_ZERO", "price"),
    "stop_price": ("PRICE_ZERO", "trigger_price"),
}
"""By field: the code of a zero in it, and the domain's name of its number."""


def _above_zero(value: object, info: ValidationInfo) -> object:
    if isinstance(value, JsonNumber):
        number = value.exact()
        if number == 0:
            code, name = _ZEROS[info.field_name or ""]
            raise PydanticCustomError(code, "must be above zero", {name: "0"})
        return number
    raise ValueError("must be a JSON number" + (", not text" if isinstance(value, str) else ""))


def _moment(value: object) -> object:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # told below like every other that is none
    raise ValueError("must be a time by ISO 8601 with its zone, such as 2026-12-31T12:00:00Z")


_number = WithJsonSchema({"type": "number"})
_positive = WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
Positive = Annotated[Decimal, BeforeValidator(_above_zero), _positive]
"""A JSON number above zero of at most 18 digits before and after the point."""
Number = Annotated[Decimal, _number]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


class OrderBody(BaseModel):
    """Body of `POST /orders`. `null` stands for a field that is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exchange: str | None = Field(default=None, description="name of an account; the default one if left out")
    symbol: str = Field(max_length=64, description="BASE/QUOTE")
    side: OrderSide
    order_type: OrderType = Field(description="market, limit, stop or stop-limit; a stop with a price is a stop-limit")
    quote_amount: Positive | None = Field(
        default=None, description="quote units that a market order spends or brings in, about: we send base units"
    )
    amount: Positive | None = Field(
        default=None, validate_default=True, description="base units; a market order may give quote_amount instead"
    )
    price: Positive | None = Field(default=None, description="quote units per base unit; limit and stop-limit")
    stop_price: Positive | None = Field(default=None, description="quote units per base unit; stop and stop-limit only")
    time_in_force: TimeInForce | None = Field(default=None, description="GTC if left out; GTD needs expires_at")
    trigger_by: TriggerBy | None = Field(
        default=None, description="which price triggers a stop: last (if left out) or mid; by mid we hold it everywhere"
    )
    post_only: StrictBool | None = None
    expires_at: Moment | None = Field(default=None, description="when we end the order; ISO 8601 with its zone")
    strategy: Label | None = None
    client_reference: Label | None = None
    on_never_placed: OnNeverPlaced | None = Field(
        default=None, description="what follows when the venue never got it: resubmit (if left out) or give_up"
    )

    @field_validator("amount")
    @classmethod
    def _one_amount(cls, amount: Decimal | None, info: ValidationInfo) -> Decimal | None:
        if amount is None and info.data.get("quote_amount") is None:
            raise ValueError("must be there, or quote_amount for a market order")
        return amount

    def ticket(self) -> OrderTicket:
        """Return what is asked for, in the domain's words. Raises `WrongFields` for a symbol that cannot be one."""
        try:
            return OrderTicket(
                symbol=self.symbol,
                side=self.side,
                order_type=self._order_type(),
                quantity=self.amount,
                quote_amount=self.quote_amount,
                price=self.price,
                trigger_price=self.stop_price,
                time_in_force=self.time_in_force or TimeInForce.GTC,
                post_only=bool(self.post_only),
                expires_at=self.expires_at,
                strategy=self.strategy,
                client_reference=self.client_reference,
                on_never_placed=self.on_never_placed or OnNeverPlaced.RESUBMIT,
                trigger_by=self.trigger_by or TriggerBy.LAST,
            )
        except ValidationError as error:
            raise wrong_fields(error.errors()) from None

    def _order_type(self) -> OrderType:
        """A stop with a price is a stop-limit: both notations are in use."""
        is_both = self.order_type is OrderType.STOP and self.price is not None
        return OrderType.STOP_LIMIT if is_both else self.order_type


class AmendBody(BaseModel):
    """Body of `PATCH /orders/{exchange}/{id}`: new total amount, new price, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: Positive | None = None
    price: Positive | None = None


class ResolveBody(BaseModel):
    """Body of `POST /orders/{exchange}/{id}/resolve`: either `placed` or `never_placed`, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    placed: VenueOrderId | None = Field(default=None, description="the venue's id of the order that it is")
    never_placed: StrictBool | None = Field(default=None, description="true: the venue never got it")
    because: Because = Field(description="why, for the record")
    requested_by: Label | None = Field(default=None, description="who decides; `rest` if left out")


def parse_body(model: type[Body], content: object) -> Body:
    """Read a body that is JSON already. Raises `WrongFields` with every wrong field."""
    if not isinstance(content, dict):
        raise WrongFields([{"field": "body", "message": "must be a JSON object"}])
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise wrong_fields(error.errors(), known=model.model_fields) from None


class FeeJson(BaseModel):
    """What the venue took, in one currency."""

    currency: str
    cost: Number


class ReasonJson(BaseModel):
    """Why."""

    code: str
    text: str
    numbers: dict[str, Number | str]
    venue_text: str | None


class OrderJson(BaseModel):
    """An order. Numbers are exact JSON numbers; `null` means not known, or not there."""

    id: str
    exchange: str
    symbol: str
    side: OrderSide
    type: OrderType
    order_type: OrderType
    amount: Number
    quote_amount: Number | None = Field(description="set where the order was asked for in quote units")
    price: Number | None
    stop_price: Number | None
    status: str = Field(description="open, closed, canceled, expired, rejected, pending, held or in_doubt")
    lifecycle: OrderStatus
    filled: Number
    remaining: Number
    cost: Number
    average: Number | None
    fees: list[FeeJson]
    timestamp: datetime
    dry_run: bool
    mode: TradingMode
    client_order_id: str | None
    venue_order_id: str | None
    workflow_id: str
    reason: ReasonJson | None
    time_in_force: TimeInForce
    post_only: bool
    expires_at: datetime | None
    strategy: str | None
    client_reference: str | None
    rounded_from: Number | None
    attempts: int
    placement: Placement | None = Field(
        description="native: the venue works it; held: we wait for the stop price, then send what it stands for"
    )
    trigger_by: TriggerBy | None = Field(description="which price triggers a stop; null for other orders")
    triggered_at: datetime | None = Field(description="the venue's time of the price that triggered a held stop")
    triggered_price: Number | None = Field(description="that price")
    on_never_placed: OnNeverPlaced
    in_doubt_since: datetime | None = Field(description="set while the order is in doubt, as the three below")
    last_looked_at: datetime | None = Field(description="when the venue last said that it does not show it")
    fence_ends_at: datetime | None = Field(
        description="from when that is proof; null with `last_looked_at` set: never on this venue, a person decides"
    )
    next_step: str | None = Field(description="what happens next, in words")
    cancel_requested: bool
    needs_attention: bool
    updated_at: datetime
    closed_at: datetime | None


class ResolvedJson(OrderJson):
    """An order after a person's decision, and what came of it."""

    resolution: Ending = Field(
        description="adopted: as named; found: the venue shows it, whatever was decided; never_placed; "
        "known_before: nothing was left to decide"
    )
    resolution_told: str = Field(description="the same in words, with what was taken on the person's word alone")


class TickerJson(BaseModel):
    """Best prices, last price and volume of a day in base units."""

    exchange: str
    symbol: str
    bid: Number | None
    ask: Number | None
    last: Number | None
    volume: Number | None
    timestamp: datetime


class BalanceJson(BaseModel):
    """One currency, as the venue told it; `reserved` is what our open orders may still use."""

    currency: str
    free: Number
    used: Number
    total: Number
    reserved: Number
    as_of: datetime | None


class PositionJson(BaseModel):
    """What is held of a symbol by our own fills, at average cost."""

    symbol: str
    side: str
    amount: Number
    entry_price: Number | None
    current_price: Number | None
    unrealized_pnl: Number | None
    realized_pnl: Number
    updated_at: datetime


class RateBudgetJson(BaseModel):
    """A venue's budget of requests."""

    name: str
    limit: int
    window_s: int
    used: int


class ExchangeStatusJson(BaseModel):
    """How a venue answers."""

    name: str
    exchange: str
    status: str
    timestamp: datetime = Field(description="when this was answered; the rest is up to half a minute old")
    mode: TradingMode
    markets_count: int
    latency_ms: int | None
    clock_skew_ms: int | None
    last_error: str | None
    rate_budget_used: int | None
    rate_budgets: list[RateBudgetJson] = Field(
        default=[], description="what the venue allows this account in a window, and what the fleet has used of it"
    )
    paused_s: int = Field(default=0, description="seconds for which the venue wants no request")
    reconciled_at: datetime | None = Field(
        default=None, description="when ledger, Temporal and venue were last compared; null: not yet, or not known"
    )


_S = OrderStatus
STATUS_WORDS: Final[Mapping[OrderStatus, str]] = {
    _S.INITIALIZED: "pending",
    _S.SUBMITTED: "pending",
    _S.HELD: "held",
    _S.IN_DOUBT: "in_doubt",
    _S.ACCEPTED: "open",
    _S.PARTIALLY_FILLED: "open",
    _S.PENDING_CANCEL: "open",
    _S.FILLED: "closed",
    _S.CANCELED: "canceled",
    _S.EXPIRED: "expired",
    _S.REJECTED: "rejected",
    _S.DENIED: "rejected",
}
"""ccxt's words, and three of ours for what ccxt has no word for."""


def status_word(order: Order) -> str:
    """Return ccxt's word for where the order stands. A stop that waits with us is open, as it would be at a venue."""
    return "open" if order.waits_for_trigger else STATUS_WORDS[order.status]


def order_json(order: Order) -> OrderJson:
    """Return the order in the wire's words. Nothing is checked again: the domain has."""
    ticket, doubt = order.ticket, order.doubt
    return OrderJson.model_construct(
        id=order.order_id,
        exchange=order.account,
        symbol=ticket.symbol,
        side=ticket.side,
        type=ticket.order_type,
        order_type=ticket.order_type,
        amount=order.quantity,
        quote_amount=ticket.quote_amount,
        price=order.price,
        stop_price=order.trigger_price,
        status=status_word(order),
        lifecycle=order.status,
        filled=order.cum_qty,
        remaining=max(subtract(order.quantity, order.cum_qty), Decimal(0)),
        cost=order.cum_quote_qty,
        average=order.avg_px,
        fees=[FeeJson.model_construct(currency=fee.asset, cost=fee.amount) for fee in order.commissions],
        timestamp=order.created_at,
        dry_run=order.mode is TradingMode.PAPER,
        mode=order.mode,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        workflow_id=order_workflow_id(order.account, order.order_id),
        reason=reason_json(order.reason),
        time_in_force=ticket.time_in_force,
        post_only=ticket.post_only,
        expires_at=ticket.expires_at,
        strategy=ticket.strategy,
        client_reference=ticket.client_reference,
        rounded_from=order.rounded_from,
        attempts=order.attempt,
        placement=order.placement,
        trigger_by=ticket.trigger_by if order.trigger_price is not None else None,
        triggered_at=order.triggered.ts_event if order.triggered is not None else None,
        triggered_price=order.triggered.price if order.triggered is not None else None,
        on_never_placed=ticket.on_never_placed,
        in_doubt_since=doubt.since if doubt is not None else None,
        last_looked_at=doubt.last_looked_at if doubt is not None else None,
        fence_ends_at=doubt.fence_ends_at if doubt is not None else None,
        next_step=next_in_doubt(order) or next_for_held(order) or next_for_waiting(order),
        cancel_requested=order.cancel_requested,
        needs_attention=order.needs_attention,
        updated_at=order.updated_at,
        closed_at=order.closed_at,
    )


def resolved_json(order: Order, *, ending: Ending, told: str) -> ResolvedJson:
    """Return an order after a person's decision in the wire's words."""
    return ResolvedJson.model_construct(**dict(order_json(order)), resolution=ending, resolution_told=told)


def reason_json(reason: Reason | None) -> ReasonJson | None:
    """Return a reason in the wire's words."""
    if reason is None:
        return None
    return ReasonJson.model_construct(
        code=reason.code, text=reason.text, numbers=as_numbers(reason.numbers), venue_text=reason.venue_text
    )
