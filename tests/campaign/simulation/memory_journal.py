"""The journal of sends in memory, and how a row is written: what `storage/attempts.py` and `order_rows.py` do."""

from collections.abc import Callable, Sequence
from datetime import datetime

from domain import protocol
from domain.errors import OrderNotFound
from domain.events import OrderEvent, Reason
from domain.identifiers import derive_client_order_id
from domain.lifecycle import OrderEventType
from domain.order import Order
from domain.ports import Attempt
from domain.protocol import AttemptState
from tests.campaign.simulation.memory_rows import Account, AttemptRow, OrderRow

Watcher = Callable[[Order | None, Order, Sequence[OrderEvent]], None]
"""Told of every commit that changes an order: before, after, and the facts between."""


class MemoryJournal:
    """The rows and the journal. `watch` is told of every change at the moment it is committed."""

    def __init__(self, watch: Watcher | None = None) -> None:
        self.accounts: dict[str, Account] = {}
        self.kill_switches: dict[str, str] = {}
        self._watch = watch
        self._tokens = 0

    def book(self, account: str) -> Account:
        """Return the account's rows."""
        found = self.accounts.get(account)
        if found is None:
            found = self.accounts[account] = Account(account)
        return found

    def kill_reason(self, account: str) -> str | None:
        """Say why the kill switch is on for the account."""
        switches = self.kill_switches
        if not switches:
            return None
        for scope in (f"account:{account}", "global", "settings"):
            if scope in switches:
                return f"{switches[scope]} ({scope})"
        return None

    # The journal.

    async def open_attempt(self, account: str, order_id: str, *, worker: str, now: datetime) -> Attempt:
        book = self.book(account)
        row = self._load(book, order_id)
        if row.order.status in protocol.UNDECIDED and row.attempts:
            return _attempt(account, order_id, row.attempts[-1])
        number = row.order.attempt + 1
        client_order_id = derive_client_order_id(order_id, attempt=number)
        submission = protocol.next_submission(row.order, client_order_id=client_order_id, now=now)
        self._tokens += 1
        opened = AttemptRow(number, client_order_id, str(self._tokens), worker, submission)
        row.attempts.append(opened)
        book.tokens[opened.token] = (row, opened)
        event = OrderEvent(
            event_type=OrderEventType.SUBMITTED,
            ts_event=now,
            attempt=number,
            client_order_id=client_order_id,
            quantity=submission.quantity,
            price=submission.price,
        )
        self._save(book, row, row.order.apply(event), (event,))
        return _attempt(account, order_id, opened, fresh=True)

    async def pass_last_look(self, attempt: Attempt, *, now: datetime) -> bool:
        book = self.book(attempt.account)
        row, mine = book.tokens[attempt.token]
        kill_reason = self.kill_reason(attempt.account)
        if not protocol.may_leave(row.order, mine.state, kill_reason=kill_reason, now=now):
            return False
        mine.state = AttemptState.LEFT
        mine.left_at = now
        return True

    async def void_attempt(self, attempt: Attempt, *, reason: Reason, now: datetime) -> Order | None:
        book = self.book(attempt.account)
        row, mine = book.tokens[attempt.token]
        if mine.state is AttemptState.SENDING:
            event = OrderEvent(event_type=OrderEventType.NOT_SENT, ts_event=now, reason=reason)
            changed = row.order.apply(event)
            mine.state = AttemptState.VOID
            return self._save(book, row, changed, (event,))
        return row.order if mine.state is AttemptState.VOID else None

    async def current_attempt(self, account: str, order_id: str) -> Attempt | None:
        row = self.book(account).orders.get(order_id)
        return _attempt(account, order_id, row.attempts[-1]) if row is not None and row.attempts else None

    # How a row is written.

    def _load(self, book: Account, order_id: str) -> OrderRow:
        row = book.orders.get(order_id)
        if row is None:
            raise OrderNotFound(f"account {book.name} has no order {order_id}")
        return row

    def _save(
        self, book: Account, row: OrderRow, order: Order, events: Sequence[OrderEvent], *, now: datetime | None = None
    ) -> Order:
        """Write new state and facts; with `now`, an order that ends gives its reservation back."""
        before = row.order
        self._commit(book, row, before, order, events, notify=False)
        if now is not None and order.is_final and not before.is_final:
            book.settle(order, (), now=now)
        return order

    def _commit(
        self, book: Account, row: OrderRow, before: Order, order: Order, events: Sequence[OrderEvent], *, notify: bool
    ) -> None:
        book.write(row, order, events, notify=notify)
        if self._watch is not None:
            self._watch(before, order, events)

    def _open_case(self, book: Account, row: OrderRow, reason: Reason) -> Order:
        book.open_once(row.order.order_id, reason)
        row.order = row.order.model_copy(update={"needs_attention": True})
        return row.order


def _attempt(account: str, order_id: str, row: AttemptRow, *, fresh: bool = False) -> Attempt:
    return Attempt(
        order_id=order_id,
        account=account,
        attempt=row.number,
        client_order_id=row.client_order_id,
        token=row.token,
        signed_at=row.submission.signed_at,
        submission=row.submission,
        fresh=fresh,
        may_have_left=row.state in (AttemptState.LEFT, AttemptState.CLOSED),
    )
