"""What a venue says before we believe it. Adapters make reports; `reconciliation.py` turns them into facts."""

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

from domain.events import Fill, Reason
from domain.numbers import Amount, Notional, Price, Quantity


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VenueAnswer(_Report):
    """The venue's own words, as evidence: what came back of one request, secrets masked."""

    http_status: int
    request_id: str | None = None
    """The venue's name for the request, where it gives one: what its support asks for."""
    body: str
    """As kept in the ledger, under the hash that the fact names: masked, and cut where it is very long."""


class VenueOrderStatus(StrEnum):
    """The venue's word. An adapter that meets a word it does not know raises, it never guesses."""

    OPEN = "open"
    CLOSED = "closed"
    """Filled in full, as far as the venue's order record says."""
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


class OrderReport(_Report):
    """What the venue says of one order at one moment. `cum_qty` is `None` when it does not say."""

    symbol: str
    venue_order_id: str
    client_order_id: str | None
    status: VenueOrderStatus
    side: str | None = None
    """`buy` or `sell`, where the venue tells."""
    quantity: Quantity | None = None
    price: Price | None = None
    cum_qty: Quantity | None = None
    cum_quote_qty: Notional | None = None
    trades: tuple[Fill, ...] = ()
    """Trades that came with the report itself (Binance's FULL answer); may be fewer than there are."""
    ts_event: AwareDatetime | None = None
    answer: VenueAnswer | None = None
    """What it was read from, where that was the answer to a question about this order alone."""


class OrderRef(_Report):
    """How we ask for an order: by the venue's id where it is known, else by our client order id."""

    symbol: str
    client_order_id: str
    venue_order_id: str | None = None


class Submission(_Report):
    """What is sent to the venue for one attempt: already rounded to the instrument, signed with `signed_at`."""

    client_order_id: str
    symbol: str
    side: str
    order_type: str
    quantity: Quantity
    price: Price | None = None
    trigger_price: Price | None = None
    time_in_force: str = "GTC"
    post_only: bool = False
    signed_at: AwareDatetime
    """The journaled time that the request is signed with; the venue's validity window counts from it."""


class SubmitVerdict(StrEnum):
    """The four outcomes of a submit. Only evidence leads to the first three."""

    ACCEPTED = "accepted"
    """The venue named its order id."""
    REFUSED = "refused"
    """A proven refusal: on the venue's white list, or refused by the adapter before bytes left."""
    NOT_SENT = "not_sent"
    """Proven: no byte left this machine, or the venue turned the request away unread (rate limit, stale time)."""
    UNKNOWN = "unknown"
    """Everything else."""


class SubmitOutcome(_Report):
    """What came of one POST, with the evidence for the record. `report` is set when accepted, `reason` otherwise."""

    verdict: SubmitVerdict
    report: OrderReport | None = None
    reason: Reason | None = None
    retry_after_s: int = 0
    answer: VenueAnswer | None = None
    """What the venue answered to the POST; `None` when no whole answer came."""


class Balance(_Report):
    """The venue's word on one asset."""

    asset: str
    free: Amount
    used: Amount
    total: Amount


class Ticker(_Report):
    """Best prices and 24 h volume of a symbol. `None` where the venue gives none."""

    symbol: str
    bid: Price | None
    ask: Price | None
    last: Price | None
    base_volume: Quantity | None = None
    ts_event: AwareDatetime


class BookLevel(_Report):
    """One price of the public order book."""

    price: Price
    quantity: Quantity


class OrderBook(_Report):
    """The public order book, best price first."""

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    ts_event: AwareDatetime


class RateBudget(_Report):
    """What a venue allows an account in a window, and what counts of it now in the whole fleet."""

    name: str
    """`weight`, `requests`, or `orders` with its window."""
    limit: int
    window_s: int
    used: int
    """Spent, and leased to processes that may spend it without asking."""


class VenueStatus(_Report):
    """How the venue answers us at this moment."""

    reachable: bool
    markets_count: int
    latency_ms: int | None
    clock_skew_ms: int | None
    last_error: str | None = None
    rate_budget_used: int | None = None
    """Request weight of the running minute, as the venue counts it, where it tells."""
    rate_budgets: tuple[RateBudget, ...] = ()
    paused_s: int = 0
    """Seconds for which the venue wants no request, of anybody in the fleet."""
