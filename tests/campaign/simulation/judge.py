"""The invariants, judged against the venue's own ledger: at every event of the venue, at every commit, and at the end.

I1 orders per intent ≤ 1, I2 nothing at the venue that we do not know, I3 fills and fees to the last digit, I4 position
and reservations, I5 limits at every instant, I6 no state without evidence, I7 facts complete and in order, I9 nothing
stuck. Nothing here asks our ledger what happened at the venue.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from domain.events import Fill, OrderEvent
from domain.identifiers import derive_client_order_id
from domain.lifecycle import OrderEventType, OrderStatus
from domain.order import Order, OrderRequest
from domain.reports import Submission, VenueOrderStatus
from tests.campaign.simulation.memory_rows import Account, OrderRow
from tests.campaign.simulation.plan import RECV_WINDOW_S
from tests.campaign.simulation.venue import SimVenue, VenueOrder

if TYPE_CHECKING:
    from tests.campaign.simulation.world import World

ZERO = Decimal(0)
ATTEMPTS_MAX = 9
FOLD_EVERY = 5
"""Every so many orders, all facts are applied anew and the result is compared: it is the dearest of the checks."""
_WINDOW = timedelta(seconds=RECV_WINDOW_S)
_NOTHING_THERE = (OrderEventType.NEVER_PLACED, OrderEventType.NOT_SENT)
OPEN = VenueOrderStatus.OPEN


class Violation(NamedTuple):
    """One broken promise."""

    invariant: str
    order_id: str
    text: str


class Life:
    """One intent: what was asked, what the venue took for it, and what it was put through."""

    __slots__ = ("amended", "asked", "concluded", "faults", "kills", "left", "number", "placed", "request", "venue")

    def __init__(self, number: int, request: OrderRequest, venue: SimVenue) -> None:
        self.number = number
        self.request = request
        self.venue = venue
        self.asked = request.ticket.quantity
        self.amended = False
        self.placed: list[VenueOrder] = []
        self.left: dict[str, Submission] = {}
        self.concluded: set[str] = set()
        self.faults: set[str] = set()
        self.kills: set[str] = set()


class Judge:
    """Sees everything and changes nothing."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.lives: dict[str, Life] = {}
        self.violations: list[Violation] = []
        self.checks = 0
        self._by_client: dict[str, Life] = {}
        self._underived: list[Life] = []

    def add(self, life: Life) -> None:
        """Know an intent before anything is sent for it."""
        self.lives[life.request.order_id] = life
        self._underived.append(life)

    def life_of(self, client_id: str) -> Life | None:
        """Return the intent that a client order id belongs to: derived anew, not looked up in our ledger."""
        found = self.lives.get(client_id)
        if found is not None or not client_id:
            return found
        if client_id not in self._by_client:
            fresh, self._underived = self._underived, []
            for life in fresh:
                for attempt in range(2, ATTEMPTS_MAX):
                    self._by_client[derive_client_order_id(life.request.order_id, attempt=attempt)] = life
        return self._by_client.get(client_id)

    def violate(self, invariant: str, order_id: str, text: str) -> None:
        """Write a broken promise down."""
        self.violations.append(Violation(invariant, order_id, text))
        self.world.note(order_id, f"VIOLATION {invariant}: {text}")

    # At the venue.

    def leaves(self, venue: SimVenue, submission: Submission, asked_at: float) -> None:
        """A sender was told that its bytes may leave; it asked at that time."""
        self.checks += 1
        world, client_id = self.world, submission.client_order_id
        if world.killed_since is not None and world.killed_since < asked_at:
            self.violate("I5", client_id, "bytes leave while the kill switch is on")
        life = self.life_of(client_id)
        if life is None:
            self.violate("I2", client_id, "sent under an id that belongs to no intent")
            return
        if client_id in life.left:
            self.violate("I1", life.request.order_id, f"{client_id} is sent a second time")
        life.left[client_id] = submission
        expires_at = life.request.ticket.expires_at
        if expires_at is not None and expires_at < world.loop.utc() - timedelta(seconds=5):
            self.violate("I6", life.request.order_id, "sent long after its own deadline")

    def accepted(self, venue: SimVenue, order: VenueOrder, asset: str, need: Decimal) -> None:
        """The venue takes an order: is it the only one, ours, journaled, and within what the account holds?"""
        self.checks += 1
        life = self.life_of(order.client_id)
        if life is None:
            self.violate("I2", order.client_id, "the venue has an order of nobody")
            return
        order_id = life.request.order_id
        row = self.world.store.book(venue.account).orders.get(order_id)
        if row is None or not any(attempt.client_order_id == order.client_id for attempt in row.attempts):
            self.violate("I2", order_id, "taken by the venue and not in the journal")
        elif row.order.is_final:
            self.violate("I6", order_id, f"taken by the venue after it ended {row.order.status} here")
        if order.client_id in life.concluded:
            self.violate("I6", order_id, "taken by the venue after we concluded that it never was")
        if any(other.status is OPEN for other in life.placed):
            self.violate("I1", order_id, "two orders of one intent are open at the venue")
        elif life.placed and not life.amended:
            self.violate("I1", order_id, "two orders for one intent")
        executed = sum((other.cum_qty for other in life.placed), ZERO)
        if executed + order.quantity > life.asked:
            self.violate("I1", order_id, f"{executed} done and {order.quantity} sent, {life.asked} asked for")
        if venue.free[asset] < need:
            self.violate("I5", order_id, f"{need} {asset} used with {venue.free[asset]} free")
        life.placed.append(order)

    # In our ledger.

    def committed(self, before: Order | None, order: Order, events: Sequence[OrderEvent]) -> None:
        """Our ledger says something new: is there evidence?"""
        self.checks += 1
        if self.world.trace is not None:
            words = ", ".join(event.event_type for event in events)
            self.world.note(order.order_id, f"ledger {words} -> {order.status} seq {order.seq} cum {order.cum_qty}")
        life = self.lives[order.order_id]
        for event in events:
            if event.event_type in _NOTHING_THERE:
                self._check_nothing_there(life, order.client_order_id or "", event.event_type)
            elif event.event_type is OrderEventType.REPLACED and any(o.status is OPEN for o in life.placed):
                self.violate("I6", order.order_id, "replaced while the old one is open at the venue")
        if order.is_final and (before is None or not before.is_final):
            self._check_ending(life, order)

    def _may_arrive(self, life: Life, client_id: str) -> bool:
        submission = life.left.get(client_id)
        if submission is None or life.venue.on_the_way.get(client_id, 0) <= 0:
            return False
        return self.world.loop.utc() <= submission.signed_at + _WINDOW

    def _check_nothing_there(self, life: Life, client_id: str, fact: OrderEventType) -> None:
        life.concluded.add(client_id)
        if client_id in life.venue.by_client:
            self.violate("I6", life.request.order_id, f"{fact} of {client_id}, and the venue has it")
        elif self._may_arrive(life, client_id):
            self.violate("I6", life.request.order_id, f"{fact} of {client_id}, and it is still on its way")

    def _check_ending(self, life: Life, order: Order) -> None:
        order_id, status = order.order_id, order.status
        if any(placed.status is OPEN for placed in life.placed):
            self.violate("I6", order_id, f"ended {status} while it is open at the venue")
            return
        if any(self._may_arrive(life, client_id) for client_id in life.left):
            self.violate("I6", order_id, f"ended {status} while a request is on its way")
        executed = sum((placed.cum_qty for placed in life.placed), ZERO)
        if executed != order.cum_qty:
            self.violate("I3", order_id, f"ended {status} with {order.cum_qty}, the venue traded {executed}")
        last = life.placed[-1].status if life.placed else None
        if status is OrderStatus.DENIED and life.left:
            self.violate("I6", order_id, "denied after it was sent")
        elif status is OrderStatus.REJECTED:
            self._check_rejection(life, order)
        elif status is OrderStatus.FILLED and executed < order.quantity:
            self.violate("I6", order_id, f"filled with {executed} of {order.quantity}")
        elif status is OrderStatus.EXPIRED and last is VenueOrderStatus.CANCELED:
            reason = order.reason.code if order.reason else ""
            if reason != "DEADLINE_REACHED":
                self.violate("I6", order_id, "expired, and the venue says canceled")

    def _check_rejection(self, life: Life, order: Order) -> None:
        client_id = order.client_order_id or ""
        mine = [placed for placed in life.placed if placed.client_id == client_id]
        if mine and mine[-1].status is not VenueOrderStatus.REJECTED:
            self.violate("I6", order.order_id, f"rejected, and the venue says {mine[-1].status}")
        elif not mine and client_id not in life.venue.refused:
            open_ends = life.left.keys() - life.concluded - {placed.client_id for placed in life.placed}
            if open_ends:
                self.violate("I6", order.order_id, f"rejected without a refusal, {sorted(open_ends)} unproven")
        if order.cum_qty > 0:
            self.violate("I6", order.order_id, f"rejected, and {order.cum_qty} was traded")

    # At the end.

    def close(self) -> None:
        """Judge the episode at rest."""
        for life in self.lives.values():
            self.checks += 1
            self._judge_life(life)
        for name, venue in self.world.venues.items():
            self._judge_account(name, venue)
        for workflow_id, failure in self.world.temporal.failures:
            self.violate("I9", workflow_id.rpartition("-")[2], f"the workflow failed: {failure!r}")
        for text in self.world.loop.failures:
            self.violate("I9", "", f"nobody caught: {text}")

    def _judge_life(self, life: Life) -> None:
        order_id = life.request.order_id
        run = self.world.temporal.runs.get(f"order-{life.request.account}-{order_id}")
        row = self.world.store.book(life.request.account).orders.get(order_id)
        if row is None and run is not None and run.lost:
            return  # gone with Temporal's store before it was recorded: its caller was told nothing
        if row is None:
            self.violate("I2", order_id, "the intent is not on record")
            return
        if run is None or not run.done or not row.order.finalized:
            self.violate("I9", order_id, f"stuck: {row.order.status} seq {row.order.seq} {row.order.reason}")
            return
        if run.failure is None and run.result is not None and run.result.order != row.order:
            self.violate("I7", order_id, "the workflow's result is not what the ledger says")
        self._judge_fills(life, row)
        self._judge_facts(life, row)

    def _judge_fills(self, life: Life, row: OrderRow) -> None:
        order_id = life.request.order_id
        theirs = {(fill.venue_order_id, fill.trade_id): fill for placed in life.placed for _, fill in placed.trades}
        ours = {(fill.venue_order_id, fill.trade_id): fill for fill in row.fills}
        if theirs != ours:
            missing, extra = theirs.keys() - ours.keys(), ours.keys() - theirs.keys()
            self.violate("I3", order_id, f"trades differ: only there {sorted(missing)}, only here {sorted(extra)}")
        executed = sum((placed.cum_qty for placed in life.placed), ZERO)
        cost = sum((placed.cum_quote for placed in life.placed), ZERO)
        if (row.order.cum_qty, row.order.cum_quote_qty) != (executed, cost):
            self.violate(
                "I3", order_id, f"{row.order.cum_qty} for {row.order.cum_quote_qty}, not {executed} for {cost}"
            )
        fees: dict[str, Decimal] = {}
        for fill in theirs.values():
            asset = fill.commission_asset or ""
            fees[asset] = fees.get(asset, ZERO) + (fill.commission or ZERO)
        if {commission.asset: commission.amount for commission in row.order.commissions} != fees:
            self.violate("I3", order_id, f"fees {row.order.commissions}, not {fees}")

    def _judge_facts(self, life: Life, row: OrderRow) -> None:
        order, order_id = row.order, life.request.order_id
        if len(row.events) != order.seq:
            self.violate("I7", order_id, f"{len(row.events)} facts for seq {order.seq}")
        elif life.number % FOLD_EVERY == 0:
            terms = self.world.terms[order.account]
            again = life.request.new_order(exchange=terms.exchange, mode=terms.mode)
            for event in row.events:
                again = again.apply(event)
            if again.model_copy(update={"needs_attention": order.needs_attention}) != order:
                self.violate("I7", order_id, "the facts do not lead to the order")
        ids = [attempt.client_order_id for attempt in row.attempts]
        if len(set(ids)) != len(ids) or not life.left.keys() <= set(ids):
            self.violate("I7", order_id, "the journal does not hold every send once")

    def _judge_account(self, name: str, venue: SimVenue) -> None:
        book = self.world.store.book(name)
        self._judge_positions(book)
        for asset, row in book.balances.items():
            if row.reserved != 0:
                self.violate("I4", "", f"{row.reserved} {asset} of {name} reserved at rest")
            total = venue.free.get(asset, ZERO) + venue.locked.get(asset, ZERO)
            if row.total != total:
                self.violate("I4", "", f"{name} holds {row.total} {asset} here and {total} there")
        for order_id, reservation in book.reservations.items():
            if reservation.amount != 0:
                self.violate("I4", order_id, f"{reservation.amount} {reservation.asset} reserved at rest")
        for order_id in book.to_notify:
            self.violate("I7", order_id, "its workflow was never told of its last fact")
        for order_id, code in book.open_cases:
            self.violate("I6", order_id, f"a case was opened: {code}")

    def _judge_positions(self, book: Account) -> None:
        amounts: Counter[str] = Counter()
        for row in book.orders.values():
            for fill in row.fills:
                amounts[fill.symbol] += _moved(row.order, fill)
        for symbol, amount in amounts.items():
            held = book.positions[symbol].amount if symbol in book.positions else ZERO
            if held != amount:
                self.violate("I4", "", f"position {held} of {symbol}, and the fills make {amount}")

    def check_reservations(self) -> None:
        """Hold the sum of reservations to what the balances say is reserved: at any moment, not only at rest."""
        self.checks += 1
        for name in self.world.venues:
            book = self.world.store.book(name)
            sums: dict[str, Decimal] = {}
            for reservation in book.reservations.values():
                sums[reservation.asset] = sums.get(reservation.asset, ZERO) + reservation.amount
            for asset, row in book.balances.items():
                if row.reserved != sums.get(asset, ZERO):
                    self.violate("I4", "", f"{row.reserved} {asset} reserved, the orders' sum is {sums.get(asset)}")


def _moved(order: Order, fill: Fill) -> Decimal:
    """Return what a fill does to the position."""
    amount = fill.last_qty if order.ticket.side == "buy" else -fill.last_qty
    if fill.commission is not None and fill.commission_asset == fill.symbol.split("/")[0]:
        amount -= fill.commission
    return amount
