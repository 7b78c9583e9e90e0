"""What the order's life needs from outside, as small protocols. Adapters implement them; activities call them.

Every method may be repeated: a second call with the same arguments changes nothing and gives the same answer.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from pydantic import AwareDatetime, SecretStr

from domain.events import Fill, OrderEvent, Reason
from domain.instrument import Instrument
from domain.lifecycle import OrderEventType
from domain.numbers import Amount, Notional, Price, Quantity, SignedAmount
from domain.order import Frozen, Order, OrderRequest
from domain.reports import (
    Balance,
    BookLevel,
    OrderBook,
    OrderRef,
    OrderReport,
    Submission,
    SubmitOutcome,
    Ticker,
    VenueOrderStatus,
    VenueStatus,
)
from domain.risk import AccountTerms, Answer, Limits, Validated

LastLook = Callable[[], Awaitable[bool]]
"""Asked just before the bytes leave; false means: do not send. It is a compare-and-set in the ledger."""


class Exchange(Protocol):
    """One account at one venue.

    Reads raise `VenueUnavailable` (no whole answer: it says nothing), `RateLimited`, `ClockSkew` or
    `CredentialsRefused`; never an empty answer in place of a failed one.
    """

    async def instruments(self) -> Mapping[str, Instrument]:
        """Return the venue's symbols and their rules, by unified symbol; cached and refreshed by the adapter."""

    async def submit(self, submission: Submission, *, last_look: LastLook) -> SubmitOutcome:
        """Send one order, once. Never raises for what the venue or the network does: that is in the outcome."""

    async def cancel(self, ref: OrderRef) -> Reason | None:
        """Ask the venue to cancel. The answer is a hint only (`None`: taken): look at the order afterwards."""

    async def fetch_order(self, ref: OrderRef) -> OrderReport | None:
        """Return the venue's word on one order, closed ones included; `None` when it says it has none."""

    async def fetch_open_orders(self, symbols: Collection[str] | None = None) -> Sequence[OrderReport]:
        """Return all open orders of the account in these symbols, or in all, in the way that costs the venue least."""

    async def fetch_trades(self, symbol: str, *, since: datetime) -> Sequence[Fill]:
        """Return the account's trades in the symbol from `since` on, all pages, oldest first."""

    async def fetch_order_trades(self, ref: OrderRef, *, since: datetime) -> Sequence[Fill]:
        """Return all trades of one order (its venue id must be known); `since` is before it was sent."""

    async def fetch_balances(self) -> Sequence[Balance]:
        """Return the balance of every asset that the account holds."""

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """Return best prices and volume, at most about a second old."""

    async def fetch_order_book(self, symbol: str, *, depth: int) -> OrderBook:
        """Return the public order book, `depth` levels a side."""

    async def status(self) -> VenueStatus:
        """Return how the venue answers; never raises."""

    def time_fence_s(self) -> int | None:
        """Return the seconds after `signed_at` from which "not found" is proof; `None`: never on this venue."""

    async def close(self) -> None:
        """Close connections. The exchange cannot be used afterwards."""


class Admission(Frozen):
    """What the gate said and the order as recorded. With UNAVAILABLE nothing was recorded and `order` is not stored."""

    answer: Answer
    order: Order
    reason: Reason | None = None


class Attempt(Frozen):
    """The journal row of one send. `token` is the fence: whoever holds it, and nobody else, may send."""

    order_id: str
    account: str
    attempt: int
    client_order_id: str
    token: str
    signed_at: AwareDatetime
    submission: Submission
    fresh: bool
    """True for the caller that opened it. Anybody else found it and must look, never send."""
    may_have_left: bool
    """False while no sender has passed its last look: such an attempt can be voided, and is then proven unsent."""


class Position(Frozen):
    """What is held of a symbol from our own fills, by average cost. `amount` in base units, negative when short."""

    account: str
    symbol: str
    amount: SignedAmount
    entry_price: Price | None
    """Average cost of what is held, quote per base; `None` when nothing is held."""
    realized_pnl: SignedAmount
    """Quote units, before commissions in other assets."""
    updated_at: AwareDatetime


class BalanceSheet(Frozen):
    """One asset as the ledger sees it: the venue's word when it was asked, and what our orders have reserved."""

    asset: str
    free: Amount
    used: Amount
    total: Amount
    reserved: Amount
    asked_at: AwareDatetime


class Notice(Frozen):
    """One entry of the outbox: the order's workflow should hear that the ledger is at `order.seq`."""

    order: Order
    settled: bool = True


class RecordedEvent(Frozen):
    """A fact as it stands in the ledger."""

    seq: int
    event: OrderEvent
    recorded_at: AwareDatetime


class OrderStore(Protocol):
    """The ledger as the order's life writes it. Each method is one transaction. Raises `StoreUnavailable`."""

    async def admit(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Admission:
        """Record the intent and its decision: order, limits by conditional update, reservation, facts.

        An order that is recorded already is returned as it stands. A denied one is recorded as DENIED. UNAVAILABLE
        records nothing. Raises `IdempotencyConflict` when the id belongs to another ticket.
        """

    async def deny(self, request: OrderRequest, reason: Reason, *, terms: AccountTerms, now: datetime) -> Order:
        """Record an order that was denied, also for lack of data. An order that is recorded is returned as it is."""

    async def open_attempt(self, account: str, order_id: str, *, worker: str, now: datetime) -> Attempt:
        """Journal the next attempt if none is open, else return the open one with `fresh` false.

        `signed_at` is `now`; the submission holds what is left: `quantity - cum_qty` at the order's price.
        Raises `OrderClosed` when the order is final, was asked to cancel, or has nothing left.
        """

    async def pass_last_look(self, attempt: Attempt, *, now: datetime) -> bool:
        """Compare-and-set before the bytes leave. False: token void, expired, cancel asked for, or kill switch on."""

    async def void_attempt(self, attempt: Attempt, *, reason: Reason, now: datetime) -> Order | None:
        """Take an attempt back that no sender has passed its last look with. `None` when one has: then look it up."""

    async def record_outcome(self, attempt: Attempt, outcome: SubmitOutcome, *, now: datetime) -> Order:
        """Record what came of the send: accepted with its first fills, refused, not sent, or in doubt."""

    async def record_report(
        self, account: str, order_id: str, report: OrderReport, *, trades: Sequence[Fill], now: datetime
    ) -> Notice:
        """Believe a report (`domain.reconciliation`): fills, positions, reservation and status in one transaction."""

    async def record_never_placed(self, attempt: Attempt, *, reason: Reason, now: datetime) -> Order:
        """Record that the venue's time fence has passed and nothing was found."""

    async def current_attempt(self, account: str, order_id: str) -> Attempt | None:
        """Return the latest attempt, `fresh` false."""

    async def request_cancel(self, account: str, order_id: str, *, reason: Reason, now: datetime) -> Order:
        """Record that the order shall end. An order that is final is returned as it is."""

    async def request_amend(
        self,
        account: str,
        order_id: str,
        *,
        quantity: Quantity,
        price: Price,
        limits: Limits,
        requested_by: str,
        now: datetime,
    ) -> Order:
        """Record new total quantity and price, and reserve for the worse of old and new.

        Raises `NotAmendable` with the numbers when the gate or the order's state does not allow it.
        """

    async def end_unsent(
        self, account: str, order_id: str, *, event_type: OrderEventType, reason: Reason, now: datetime
    ) -> Order:
        """End an order of which nothing is at the venue: CANCELED, EXPIRED or REJECTED."""

    async def finalize(self, account: str, order_id: str, *, now: datetime) -> Order:
        """Write the final facts once: reservation released, attempt closed, FINALIZED recorded."""

    async def order(self, account: str, order_id: str) -> Order:
        """Return the order. Raises `OrderNotFound`."""

    async def working_orders(self, account: str) -> Sequence[Order]:
        """Return the orders of which something is, or may be, at the venue."""

    async def pending_notices(self, account: str, *, limit: int) -> Sequence[Notice]:
        """Return orders whose workflow has not heard of their latest fact from the feed."""

    async def mark_notified(self, account: str, notices: Sequence[Notice]) -> None:
        """Record that the workflows heard of these."""

    async def record_balances(self, account: str, balances: Sequence[Balance], *, asked_at: datetime) -> None:
        """Record the venue's word on the balances, and that the account was compared with its venue."""


class OrderReader(Protocol):
    """The ledger as people and programs read it. Lists page by key, newest first. Raises `StoreUnavailable`."""

    async def order(self, account: str, order_id: str) -> Order:
        """Return the order. Raises `OrderNotFound`."""

    async def orders(
        self, account: str, *, is_open: bool | None, symbol: str | None, limit: int, before: str | None
    ) -> Sequence[Order]:
        """Return up to `limit` orders that were placed before the order named by `before`."""

    async def events(self, account: str, order_id: str) -> Sequence[RecordedEvent]:
        """Return the order's facts, oldest first."""

    async def fills(self, account: str, order_id: str) -> Sequence[Fill]:
        """Return the order's fills, oldest first."""

    async def positions(self, account: str) -> Sequence[Position]:
        """Return what is held per symbol."""

    async def balances(self, account: str) -> Sequence[BalanceSheet]:
        """Return every asset's balance as last told by the venue."""

    async def ping(self) -> None:
        """Raise `StoreUnavailable` when the ledger does not answer."""


class Credentials(Frozen):
    """An account's keys. A field is `None` where the venue needs none. Never printed, never in a message."""

    api_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    passphrase: SecretStr | None = None
    uid: SecretStr | None = None


class CredentialStore(Protocol):
    """Where keys come from."""

    async def credentials(self, account: str, exchange: str) -> Credentials:
        """Return the account's keys. Raises `CredentialsUnavailable`."""


class OrderNotifier(Protocol):
    """The way from the feed to the orders' workflows."""

    async def notify(self, notice: Notice) -> None:
        """Tell the order's workflow; start one that adopts the order when there is none."""


class PaperOrder(Frozen):
    """One order in the paper book, as a venue would keep it."""

    submission: Submission
    venue_order_id: str
    status: VenueOrderStatus = VenueOrderStatus.OPEN
    triggered: bool = False
    """Whether a stop order has met its trigger; it is a market or limit order from then on."""
    cum_qty: Quantity = Decimal(0)
    cum_quote_qty: Notional = Decimal(0)
    locked: Amount = Decimal(0)
    """Units of the asset it spends (quote for a buy, base for a sell) that are still set aside for it."""
    updated_at: AwareDatetime


class PaperDesk(Frozen):
    """What the paper book holds of one account and symbol, read under the account's lock."""

    orders: tuple[PaperOrder, ...] = ()
    """The symbol's open orders, oldest first; where a client order id was named, that order alone, if there is one."""
    balances: tuple[Balance, ...] = ()
    asks_taken: tuple[BookLevel, ...] = ()
    """Of the public asks that still stand, what our paper orders have taken already."""
    bids_taken: tuple[BookLevel, ...] = ()
    last_order_number: int = 0
    last_trade_number: int = 0
    disowned: bool = False
    """Whether somebody was told that the book has no order of the named client order id."""
    fills: tuple[Fill, ...] = ()
    """Trades made since the desk was read; they are stored with the rest."""


class PaperBook(Protocol):
    """The durable book of paper orders and balances: what a venue would keep. Used by `PaperExchange` alone.

    Raises `StoreUnavailable`. An account must have been opened before anything else is asked.
    """

    async def open_account(self, account: str, *, opening: Mapping[str, Decimal], now: datetime) -> None:
        """Open the account with these amounts, by asset; an account that is open stays as it is."""

    async def change(
        self,
        account: str,
        symbol: str,
        *,
        client_order_id: str | None = None,
        decide: Callable[[PaperDesk], PaperDesk | Reason],
    ) -> PaperDesk | Reason:
        """Read the desk, let `decide` make the new one, and store what differs: one transaction at a time per account.

        `decide` is pure and quick. With a reason nothing is stored. Returns what `decide` returned.
        """

    async def find(self, account: str, ref: OrderRef) -> PaperOrder | None:
        """Return the order by its venue id where the reference has one, else by its client order id."""

    async def disown(self, account: str, client_order_id: str, *, now: datetime) -> PaperOrder | None:
        """Return the order, or record that there is none: then `change` shows it, and it can never be placed."""

    async def open_orders(self, account: str, *, symbol: str | None = None) -> Sequence[PaperOrder]:
        """Return the open orders, of one symbol or by symbol, oldest first."""

    async def fills(
        self, account: str, symbol: str, *, since: datetime, venue_order_id: str | None = None
    ) -> Sequence[Fill]:
        """Return the trades in the symbol, or of one order, from `since` on, oldest first."""

    async def balances(self, account: str) -> Sequence[Balance]:
        """Return the balance of every asset that the account ever held."""


__all__ = [
    "Admission",
    "Attempt",
    "BalanceSheet",
    "CredentialStore",
    "Credentials",
    "Exchange",
    "LastLook",
    "Notice",
    "OrderNotifier",
    "OrderReader",
    "OrderStore",
    "PaperBook",
    "PaperDesk",
    "PaperOrder",
    "Position",
    "RecordedEvent",
]
