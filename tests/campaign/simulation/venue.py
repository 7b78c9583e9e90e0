"""The simulated venue: its ledger is the truth that everything is judged against.

It knows what Binance knows: a client order id is unique among open orders only, a request is refused when its signed
time is too old at arrival, an order that was taken is shown a while later, and a trade later still.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from domain.events import Fill
from domain.numbers import plain
from domain.reports import Balance, OrderReport, Submission, VenueOrderStatus
from tests.campaign.simulation.plan import LAG_MAX_S, RECV_WINDOW_S
from tests.campaign.simulation.quick import quick

if TYPE_CHECKING:
    from tests.campaign.simulation.world import World

ZERO = Decimal(0)
STEP = Decimal("0.01")
RATE = Decimal("0.001")
PRICES = {"BTC/USDT": Decimal(100), "ETH/USDT": Decimal(20)}
_WINDOW = timedelta(seconds=RECV_WINDOW_S)
_AHEAD = timedelta(seconds=1)
OPEN, CLOSED = VenueOrderStatus.OPEN, VenueOrderStatus.CLOSED
CANCELED, EXPIRED, REJECTED = VenueOrderStatus.CANCELED, VenueOrderStatus.EXPIRED, VenueOrderStatus.REJECTED


class VenueOrder:
    """One order in the venue's ledger, and what it shows of it since when."""

    __slots__ = (
        "client_id", "cum_qty", "cum_quote", "history", "listed_from", "locked", "price", "quantity", "seen_from",
        "side", "status", "submission", "symbol", "trades", "venue_id",
    )  # fmt: skip

    def __init__(self, submission: Submission, venue_id: str, price: Decimal) -> None:
        self.submission = submission
        self.client_id = submission.client_order_id
        self.venue_id = venue_id
        self.symbol = submission.symbol
        self.side = submission.side
        self.quantity = submission.quantity
        self.price = price
        self.status = OPEN
        self.cum_qty = ZERO
        self.cum_quote = ZERO
        self.locked = ZERO
        self.trades: list[tuple[float, Fill]] = []
        self.history: list[tuple[float, OrderReport]] = []
        self.seen_from = 0.0
        self.listed_from = 0.0

    def write(self, now: float, at: datetime) -> OrderReport:
        """Keep what a reader is told from now on."""
        report = quick(
            OrderReport,
            symbol=self.symbol,
            venue_order_id=self.venue_id,
            client_order_id=self.client_id,
            status=self.status,
            quantity=self.quantity,
            price=self.price,
            cum_qty=self.cum_qty,
            cum_quote_qty=self.cum_quote,
            ts_event=at,
        )
        self.history.append((now, report))
        return report

    def as_of(self, moment: float) -> OrderReport:
        """Return what was known at a moment, at least the first word."""
        for at, report in reversed(self.history):
            if at <= moment:
                return report
        return self.history[0][1]


class SimVenue:
    """One account at the venue."""

    def __init__(self, world: "World", account: str, funds: dict[str, Decimal]) -> None:
        self.world = world
        self.loop = world.loop
        self.account = account
        self.free = dict(funds)
        self.locked = dict.fromkeys(funds, ZERO)
        self.orders: dict[str, VenueOrder] = {}
        self.by_client: dict[str, list[VenueOrder]] = {}
        self.open: dict[str, VenueOrder] = {}
        self.listed: dict[str, VenueOrder] = {}
        self.trades: dict[str, list[tuple[float, Fill]]] = {symbol: [] for symbol in PRICES}
        self.refused: dict[str, str] = {}
        """Client order ids that were refused with proof, and why."""
        self.on_the_way: dict[str, int] = {}
        """Requests that left and have not arrived, by client order id."""
        self._number = 0

    # Orders come and go.

    def leave(self, submission: Submission) -> None:
        """Note that a request is on its way."""
        self.on_the_way[submission.client_order_id] = self.on_the_way.get(submission.client_order_id, 0) + 1

    def arrive(self, submission: Submission) -> str | VenueOrder:
        """Take a request in: the order, or the word for why there is none."""
        client_id = submission.client_order_id
        self.on_the_way[client_id] = self.on_the_way.get(client_id, 0) - 1
        now = self.loop.utc()
        if now > submission.signed_at + _WINDOW or submission.signed_at > now + _AHEAD:
            self.world.fault("refused_as_stale", client_id)
            return "stale"
        earlier = self.by_client.get(client_id)
        if earlier and earlier[-1].status is OPEN:
            self.world.fault("duplicate_client_id", client_id)
            return "duplicate"
        return self._take(submission)

    def _take(self, submission: Submission) -> VenueOrder:
        self._number += 1
        price = submission.price or PRICES[submission.symbol]
        order = VenueOrder(submission, str(self._number), price)
        base, quote = submission.symbol.split("/")
        asset, need = (quote, order.quantity * price) if order.side == "buy" else (base, order.quantity)
        self.world.judge.accepted(self, order, asset, need)
        self.free[asset] -= need
        self.locked[asset] += need
        order.locked = need
        self.orders[order.venue_id] = order
        self.by_client.setdefault(order.client_id, []).append(order)
        self.open[order.venue_id] = self.listed[order.venue_id] = order
        now = self.loop.time()
        order.seen_from = now + self._lag("lag_of_order", order.client_id)
        order.listed_from = now + self._lag("lag_of_list", order.client_id)
        order.write(now, self.loop.utc())
        self.world.note(order.client_id, f"venue takes {order.venue_id}: {order.side} {plain(order.quantity)}")
        self._script(order)
        return order

    def _lag(self, kind: str, client_id: str) -> float:
        world = self.world
        if world.rng.random() >= world.chaos(world.plan.lag):
            return 0.0
        world.fault(kind, client_id)
        return world.rng.random() * LAG_MAX_S

    def _script(self, order: VenueOrder) -> None:
        """Decide what becomes of an order: at once, in parts, later, or nothing."""
        rng, kind = self.world.rng, order.submission.order_type
        draw = rng.random()
        if kind == "market":
            self._fill_in_parts(order, 1 if draw < 0.7 else 3)
        elif order.submission.time_in_force == "IOC":
            if draw < 0.8:
                self.fill(order, _part(order, draw))
            if order.status is OPEN:
                self.world.fault("expired_after_partial_fill", order.client_id)
                self.end(order, EXPIRED)
        elif order.submission.time_in_force == "FOK":
            if draw < 0.6:
                self.fill(order, order.quantity)
            else:
                self.end(order, EXPIRED)
        else:
            self._script_resting(order, draw)

    def _script_resting(self, order: VenueOrder, draw: float) -> None:
        rng, later = self.world.rng, self.loop.call_later
        if draw < 0.25:
            self.fill(order, order.quantity)
        elif draw < 0.4:
            self.fill(order, _part(order, rng.random()))
            later(rng.random() * 20, self._fill_rest, order)
        elif draw < 0.7:
            for _ in range(rng.randint(1, 3)):
                later(rng.random() * 20, self._fill_some, order)
            later(20 + rng.random() * 10, self._fill_rest, order)
        elif draw < 0.73:
            later(rng.random() * 8, self._end_by_itself, order, CANCELED, "canceled_by_venue")
        elif draw < 0.75:
            later(rng.random() * 8, self._end_by_itself, order, EXPIRED, "expired_by_venue")
        elif draw < 0.76:
            later(rng.random() * 0.5, self._end_by_itself, order, REJECTED, "rejected_by_engine")
        elif draw < 0.85:
            self.fill(order, _part(order, rng.random()))

    def _fill_in_parts(self, order: VenueOrder, parts: int) -> None:
        equal = _part(order, 0.3) if self.world.rng.random() < 0.5 else None
        for _ in range(parts - 1):
            if order.status is OPEN:
                self.fill(order, equal or _part(order, self.world.rng.random()))
        self._fill_rest(order)

    def _fill_rest(self, order: VenueOrder) -> None:
        if order.status is OPEN:
            self.fill(order, order.quantity - order.cum_qty)

    def _fill_some(self, order: VenueOrder) -> None:
        if order.status is OPEN:
            self.fill(order, _part(order, self.world.rng.random()))

    def _end_by_itself(self, order: VenueOrder, status: VenueOrderStatus, kind: str) -> None:
        if order.status is OPEN and not (status is REJECTED and order.cum_qty):
            self.world.fault(kind, order.client_id)
            self.end(order, status)

    # What moves.

    def fill(self, order: VenueOrder, quantity: Decimal) -> None:
        """Trade some of an order."""
        base, quote = order.symbol.split("/")
        notional = quantity * order.price
        spent = notional if order.side == "buy" else quantity
        asset, got, amount = (quote, base, quantity) if order.side == "buy" else (base, quote, notional)
        self.locked[asset] -= spent
        order.locked -= spent
        self.free[got] += amount
        third = self.world.rng.random() < 0.3
        commission, commission_asset = (notional * RATE / 4, "BNB") if third else (amount * RATE, got)
        self.free[commission_asset] -= commission
        if third:
            self.world.fault("fee_in_third_asset", order.client_id)
        order.cum_qty += quantity
        order.cum_quote += notional
        self._number += 1
        now = self.loop.time()
        fill = quick(
            Fill,
            symbol=order.symbol,
            venue_order_id=order.venue_id,
            trade_id=str(self._number),
            last_qty=quantity,
            last_px=order.price,
            commission=commission,
            commission_asset=commission_asset,
            ts_event=self.loop.utc(),
        )
        shown_from = now + self._lag("lag_of_trade", order.client_id)
        order.trades.append((shown_from, fill))
        self.trades[order.symbol].append((shown_from, fill))
        self.world.note(order.client_id, f"venue trades {plain(quantity)} of {order.venue_id}")
        if order.cum_qty == order.quantity:
            self.end(order, CLOSED)
        else:
            order.write(now, self.loop.utc())

    def end(self, order: VenueOrder, status: VenueOrderStatus) -> None:
        """Close an order: the rest is free again, and so is its client order id."""
        order.status = status
        asset = order.symbol.split("/")[1 if order.side == "buy" else 0]
        self.free[asset] += order.locked
        self.locked[asset] -= order.locked
        order.locked = ZERO
        order.write(self.loop.time(), self.loop.utc())
        self.open.pop(order.venue_id, None)
        self.world.note(order.client_id, f"venue ends {order.venue_id}: {status}")
        lag = self._lag("lag_of_ending", order.client_id)
        if lag:
            self.loop.call_later(lag, self.listed.pop, order.venue_id, None)
        else:
            self.listed.pop(order.venue_id, None)

    def cancel(self, order: VenueOrder) -> bool:
        """Carry a cancel out; false when nothing is left to cancel."""
        rng = self.world.rng
        if order.status is OPEN and rng.random() < 0.15:
            self.world.fault("filled_in_cancel_race", order.client_id)
            self.fill(order, order.quantity - order.cum_qty if rng.random() < 0.5 else _part(order, rng.random()))
        if order.status is not OPEN:
            return False
        self.end(order, CANCELED)
        return True

    # What readers see.

    def find(self, client_id: str, venue_id: str | None) -> VenueOrder | None:
        """Return an order by the venue's id, else the latest of that client id."""
        if venue_id is not None:
            return self.orders.get(venue_id)
        found = self.by_client.get(client_id)
        return found[-1] if found else None

    def shown_trades(self, symbol: str, since: datetime) -> list[Fill]:
        """Return the symbol's trades that are shown by now."""
        now = self.loop.time()
        found = []
        for shown_from, fill in reversed(self.trades[symbol]):
            if fill.ts_event < since:
                break
            if shown_from <= now:
                found.append(fill)
        found.reverse()
        return found

    def balances(self) -> list[Balance]:
        """Return every asset."""
        return [
            quick(Balance, asset=asset, free=free, used=self.locked[asset], total=free + self.locked[asset])
            for asset, free in self.free.items()
        ]


def _part(order: VenueOrder, share: float) -> Decimal:
    """Return some of what is left, in whole steps, and never all of it if that can be helped."""
    steps = int((order.quantity - order.cum_qty) / STEP)
    return STEP * max(1, min(int(steps * share), steps - 1))
