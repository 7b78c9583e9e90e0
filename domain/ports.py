"""What the order's life needs from outside, as small protocols. Adapters implement them; activities call them.

Every method may be repeated: a second call with the same arguments changes nothing and gives the same answer.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime, SecretStr

from domain.comparison import Case
from domain.events import Fill, OrderEvent, Reason
from domain.instrument import Instrument
from domain.journal import RecordedAttempt
from domain.lifecycle import OrderEventType, OrderStatus
from domain.limits import LimitSet
from domain.numbers import Amount, Price, Quantity, SignedAmount
from domain.order import Frozen, Order, OrderRequest, OrderSide, OrderType, TradingMode
from domain.placement import Placement
from domain.reports import (
    Balance,
    OrderBook,
    OrderRef,
    OrderReport,
    Submission,
    SubmitOutcome,
    Ticker,
    VenueStatus,
)
from domain.risk import AccountTerms, Answer, Decision, Finding, Validated
from domain.triggers import PublicTrade

LastLook = Callable[[], Awaitable[bool]]
"""Asked just before the bytes leave; false means: do not send. It is a compare-and-set in the ledger."""


class Exchange(Protocol):
    """One account at one venue.

    Reads raise `VenueUnavailable` (no whole answer: it says nothing), `RateLimited`, `ClockSkew` or
    `CredentialsRefused`; never an empty answer in place of a failed one.
    """

    async def instruments(self) -> Mapping[str, Instrument]:
        """Return the venue's symbols and their rules, by unified symbol; cached and refreshed by the adapter."""

    def turn(self, strategy: str | None) -> AbstractAsyncContextManager[None]:
        """Wait for an order's turn at the venue, and keep it while inside, before anything is journaled.

        Raises `RateLimited` on entering when the turn is far: `retry_after_s` says when to come back.
        """

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

    async def fetch_public_trades(self, symbol: str, *, since: datetime) -> Sequence[PublicTrade]:
        """Return everybody's trades in the symbol from `since` on, as far as the venue shows them, oldest first.

        Where they are very many, the first of them; ask again from the last.
        """

    def placement(self, order_type: OrderType, side: OrderSide) -> Placement:
        """Say whether the venue works such an order itself, we hold it, or it is refused."""

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
    mode: TradingMode
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
    evidence: str | None = None
    """What it rests on, as JSON: the limits that were looked at, or the venue's words."""


class OrderStore(Protocol):
    """The ledger as the order's life writes it. Each method is one transaction. Raises `StoreUnavailable`."""

    async def admit(
        self,
        request: OrderRequest,
        validated: Validated,
        *,
        terms: AccountTerms,
        now: datetime,
        outside: tuple[Finding, ...] = (),
    ) -> Admission:
        """Record the intent and its decision: order, limits by conditional update, reservation, facts.

        An order that is recorded already is returned as it stands. A denied one is recorded as DENIED. UNAVAILABLE
        records nothing. Raises `IdempotencyConflict` when the id belongs to another ticket.
        """

    async def foresee(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Decision | None:
        """Return what `admit` would say, and record nothing; `None` for an order that is recorded."""

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

    async def record_never_placed(
        self, attempt: Attempt, *, reason: Reason, requested_by: str | None = None, now: datetime
    ) -> Order:
        """Record that the venue's time fence has passed and nothing was found, or that somebody decided so."""

    async def record_look(self, attempt: Attempt, *, looked_at: datetime, fence_ends_at: datetime | None) -> Order:
        """Note on an order in doubt that the venue did not show it, and from when that is proof: a mark, no fact."""

    async def adopt(
        self,
        attempt: Attempt,
        report: OrderReport,
        *,
        trades: Sequence[Fill],
        reason: Reason,
        requested_by: str,
        now: datetime,
    ) -> Notice:
        """Record that a person named the venue's order, and believe its report. Nothing unless it is in doubt.

        Raises `DecisionContradicted` when the venue's order belongs to another order of the account.
        """

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
        terms: AccountTerms,
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

    async def ended_short(self, account: str, *, since: datetime) -> Sequence[Order]:
        """Return the orders that ended at the venue at `since` or later with less than their quantity filled."""

    async def pending_notices(self, account: str, *, limit: int) -> Sequence[Notice]:
        """Return orders whose workflow has not heard of their latest fact from the feed."""

    async def mark_notified(self, account: str, notices: Sequence[Notice]) -> None:
        """Record that the workflows heard of these."""

    async def open_case(self, account: str, order_id: str, *, reason: Reason, now: datetime) -> bool:
        """Open the order's case of the reason's code; false when it is open already."""

    async def close_case(self, account: str, order_id: str, code: str, *, resolution: str, now: datetime) -> bool:
        """Close a case with what came of it; false when it is not open."""

    async def orders_with_open_case(self, account: str, code: str) -> Sequence[str]:
        """Return the ids of the orders with an open case of that code."""

    async def limits(self) -> LimitSet:
        """Return the limits that hold now."""

    async def check_again(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Reason | None:
        """Say why what is left of an order must not be sent anew (`domain.risk.check_again`); `None` when it may."""

    async def record_balances(
        self, account: str, balances: Sequence[Balance], *, asked_at: datetime, told_at: datetime | None = None
    ) -> None:
        """Record the venue's word on the balances, and that the account was compared with its venue.

        Parameters
        ----------
        told_at
            When the answer was there, `None` for at once. The word is of some moment between question and answer, and
            a fill between the two may be in it or not.
        """


class OrderReader(Protocol):
    """The ledger as people and programs read it. Lists page by key, newest first. Raises `StoreUnavailable`."""

    async def order(self, account: str, order_id: str) -> Order:
        """Return the order. Raises `OrderNotFound`."""

    async def orders(
        self,
        account: str,
        *,
        is_open: bool | None,
        symbol: str | None,
        limit: int,
        before: str | None,
        status: OrderStatus | None = None,
    ) -> Sequence[Order]:
        """Return up to `limit` orders that were placed before the order named by `before`."""

    async def events(self, account: str, order_id: str) -> Sequence[RecordedEvent]:
        """Return the order's facts, oldest first."""

    async def attempts(self, account: str, order_id: str) -> Sequence[RecordedAttempt]:
        """Return the order's attempts, first one first."""

    async def fills(self, account: str, order_id: str) -> Sequence[Fill]:
        """Return the order's fills, oldest first."""

    async def positions(self, account: str) -> Sequence[Position]:
        """Return what is held per symbol."""

    async def balances(self, account: str) -> Sequence[BalanceSheet]:
        """Return every asset's balance as last told by the venue."""

    async def cases(self, account: str, *, is_open: bool | None, limit: int, before: int | None) -> Sequence[Case]:
        """Return up to `limit` cases with a number below `before`."""

    async def reconciled_at(self, account: str) -> datetime | None:
        """Return when the account was last compared with its venue, by the ledger's clock; `None` before the first."""

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
    "Position",
    "RecordedAttempt",
    "RecordedEvent",
]
