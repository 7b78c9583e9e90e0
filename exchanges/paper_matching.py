"""How paper orders meet the public market: pure functions from one desk to the next.

The model, and its honest limits:

- An arriving order takes what the public book offers at its price or better, best level first, as a taker at the
  levels' own prices. What a market, IOC or FOK order does not get is EXPIRED, as at Binance.
- A resting order trades when the opposite side of the public book reaches its price: as a maker, at its own price, for
  at most the quantity that stands there. Real queues are longer: somebody stood at that price before us, so this model
  fills earlier than a venue would. What happened between two looks is not seen, so it also misses fills.
- Our orders do not move the public market. What we took of a level is remembered while the level stands, and only
  what is added to it afterwards can be taken: never more than was shown. A level that leaves the book and comes back
  counts as new.
- A stop order is triggered by the last price as seen at a look, not by every trade in between.
- Paper orders never trade with each other.

Commissions are taken as Binance takes them: from the bought asset, so base for a buy and quote for a sell, cut to 8
digits after the point. Prices times quantities are exact: a symbol whose tick times step needs more than 18 digits is
refused.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from pydantic import AwareDatetime

from domain.events import Fill, Reason
from domain.instrument import deny
from domain.numbers import EXACT, SCALE, add, multiply, round_down_to_step, round_up_to_step, subtract
from domain.order import OrderSide, OrderType, TimeInForce
from domain.paper_ports import PaperDesk, PaperOrder
from domain.reports import Balance, BookLevel, Submission, VenueOrderStatus
from exchanges.paper_rules import (
    DISOWNED,
    Market,
    bought_asset,
    crosses,
    denial,
    is_dormant,
    meets_trigger,
    reused_id_denial,
    spent_asset,
)

COMMISSION_STEP: Final = Decimal("0.00000001")
_ZERO: Final = Decimal(0)
_IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)
_TRIGGERED_TYPES: Final = (OrderType.STOP, OrderType.STOP_LIMIT)


def place(desk: PaperDesk, submission: Submission, market: Market) -> PaperDesk | Reason:
    """Take an order in: fill what crosses, rest or end the remainder. A reason when a venue would refuse it.

    An order that the desk holds under the same client order id is left as it is.
    """
    existing = find_by_client_order_id(desk.orders, submission.client_order_id)
    if existing is not None:
        return reused_id_denial(existing, submission) or desk
    if desk.disowned:
        return deny(DISOWNED, "the book has answered that it has no such order, which is final")
    refusal = denial(submission, market)
    if refusal is not None:
        return refusal
    engine = _Engine(desk, market.now, market)
    order = engine.accept(submission)
    if submission.order_type in _TRIGGERED_TYPES:
        need = _value(submission.quantity, submission.price or submission.trigger_price or _ZERO, OrderSide.BUY)
        short = engine.lock(order, submission.quantity if submission.side == OrderSide.SELL else need)
    else:
        short = engine.arrive(order)
    return short or engine.desk()


def match(desk: PaperDesk, market: Market) -> PaperDesk:
    """Trigger the stop orders that the last price has met, then fill the resting orders that the book has reached."""
    engine = _Engine(desk, market.now, market)
    open_orders = [order for order in desk.orders if order.status is VenueOrderStatus.OPEN]
    for order in open_orders:
        if is_dormant(order) and meets_trigger(order.submission, market.last):
            engine.trigger(order)
    resting = [order for order in open_orders if not is_dormant(order)]
    for order in sorted(resting, key=_priority):
        engine.reach(order)
    return engine.desk()


def cancel(desk: PaperDesk, venue_order_id: str, *, now: AwareDatetime) -> PaperDesk | Reason:
    """End an open order and release what was set aside for it."""
    for order in desk.orders:
        if order.venue_order_id == venue_order_id and order.status is VenueOrderStatus.OPEN:
            engine = _Engine(desk, now)
            engine.end(order, VenueOrderStatus.CANCELED)
            return engine.desk()
    return deny("CANCEL_REFUSED", "the paper book has no such open order", venue_order_id=venue_order_id)


def find_by_client_order_id(orders: Iterable[PaperOrder], client_order_id: str) -> PaperOrder | None:
    """Return the order with that client order id, if it is among these."""
    return next((order for order in orders if order.submission.client_order_id == client_order_id), None)


class _Engine:
    """A desk being changed. Every step keeps free + used = total, used = what is locked, and nothing below zero."""

    def __init__(self, desk: PaperDesk, now: AwareDatetime, market: Market | None = None) -> None:
        self._before = desk
        self._now = now
        self._orders = {order.submission.client_order_id: order for order in desk.orders}
        self._balances = {balance.asset: balance for balance in desk.balances}
        self._fills = list(desk.fills)
        self._order_number = desk.last_order_number
        self._trade_number = desk.last_trade_number
        self._asks = {level.price: level.quantity for level in desk.asks_taken}
        self._bids = {level.price: level.quantity for level in desk.bids_taken}
        if market is not None:
            self._market = market
            self._asks = _still_standing(self._asks, market.book.asks)
            self._bids = _still_standing(self._bids, market.book.bids)

    def desk(self) -> PaperDesk:
        """Return the desk as changed."""
        return PaperDesk(
            orders=tuple(self._orders.values()),
            balances=tuple(self._balances.values()),
            asks_taken=_levels(self._asks),
            bids_taken=_levels(self._bids),
            last_order_number=self._order_number,
            last_trade_number=self._trade_number,
            disowned=self._before.disowned,
            fills=tuple(self._fills),
        )

    def accept(self, submission: Submission) -> PaperOrder:
        """Give the order its number."""
        self._order_number += 1
        order = PaperOrder(submission=submission, venue_order_id=str(self._order_number), updated_at=self._now)
        return self._keep(order)

    def arrive(self, order: PaperOrder) -> Reason | None:
        """Lock what the order may spend, take what the book offers, and end what may not rest."""
        submission = order.submission
        takes = self._offers(submission, submission.quantity)
        if submission.time_in_force == TimeInForce.FOK and _total(takes) < submission.quantity:
            takes = []
        short = self.lock(order, _need(submission, takes))
        if short is None:
            self._take(order, takes)
        return short

    def lock(self, order: PaperOrder, amount: Decimal) -> Reason | None:
        """Set aside what the order may spend, or say by how much the balance falls short."""
        asset = spent_asset(order.submission)
        free = self._balance(asset).free
        if amount > free:
            return deny("INSUFFICIENT_FUNDS", f"not enough {asset} is free", asset=asset, needed=amount, available=free)
        self._move(asset, used=amount)
        self._keep(order.model_copy(update={"locked": add(order.locked, amount)}))
        return None

    def trigger(self, order: PaperOrder) -> None:
        """Turn a stop order into what it becomes. One that the balance no longer pays for ends without a trade."""
        submission = order.submission
        takes = self._offers(submission, submission.quantity)
        order = self._keep(order.model_copy(update={"triggered": True, "updated_at": self._now}))
        missing = subtract(_need(submission, takes), order.locked)
        if missing > self._balance(spent_asset(submission)).free:
            self.end(order, VenueOrderStatus.EXPIRED)
        else:
            self._take(order, takes)

    def reach(self, order: PaperOrder) -> None:
        """Fill a resting order from what has come to its price, in one trade at that price."""
        submission = order.submission
        leaves = subtract(submission.quantity, order.cum_qty)
        takes = self._offers(submission, leaves)
        if takes and submission.price is not None:
            self._mark_taken(submission, takes)
            self._trade(order, _total(takes), submission.price, is_maker=True)

    def end(self, order: PaperOrder, status: VenueOrderStatus) -> None:
        """End the order and release its lock."""
        self._move(spent_asset(order.submission), used=EXACT.minus(order.locked))
        self._keep(order.model_copy(update={"status": status, "locked": _ZERO, "updated_at": self._now}))

    def _take(self, order: PaperOrder, takes: Sequence[BookLevel]) -> None:
        self._mark_taken(order.submission, takes)
        for level in takes:
            self._trade(self._orders[order.submission.client_order_id], level.quantity, level.price, is_maker=False)
        order = self._orders[order.submission.client_order_id]
        may_rest = order.submission.price is not None and order.submission.time_in_force not in _IMMEDIATE
        if order.status is VenueOrderStatus.OPEN and not may_rest:
            self.end(order, VenueOrderStatus.EXPIRED)

    def _offers(self, submission: Submission, quantity: Decimal) -> list[BookLevel]:
        """Return what the order would get from the public book now, best level first."""
        buys = submission.side == OrderSide.BUY
        levels, taken = (self._market.book.asks, self._asks) if buys else (self._market.book.bids, self._bids)
        offers = []
        for level in levels:
            if quantity == 0 or not crosses(submission, level.price):
                break
            standing = subtract(level.quantity, taken.get(level.price, _ZERO))
            part = min(round_down_to_step(standing, step=self._market.instrument.step_size), quantity)
            if part > 0:
                offers.append(BookLevel(price=level.price, quantity=part))
                quantity = subtract(quantity, part)
        return offers

    def _mark_taken(self, submission: Submission, takes: Sequence[BookLevel]) -> None:
        taken = self._asks if submission.side == OrderSide.BUY else self._bids
        for level in takes:
            taken[level.price] = add(taken.get(level.price, _ZERO), level.quantity)

    def _trade(self, order: PaperOrder, quantity: Decimal, price: Decimal, *, is_maker: bool) -> None:
        submission = order.submission
        side = OrderSide(submission.side)
        value = _value(quantity, price, side)
        spent, bought = (value, quantity) if side is OrderSide.BUY else (quantity, value)
        rate = self._market.maker_rate if is_maker else self._market.taker_rate
        commission = round_down_to_step(multiply(bought, rate), step=COMMISSION_STEP)
        cum_qty = add(order.cum_qty, quantity)
        is_complete = cum_qty == submission.quantity
        locked = _ZERO if is_complete else _locked_after(order, quantity, spent)
        self._move(spent_asset(submission), total=EXACT.minus(spent), used=subtract(locked, order.locked))
        self._move(bought_asset(submission), total=subtract(bought, commission))
        changes: dict[str, object] = {
            "cum_qty": cum_qty,
            "cum_quote_qty": add(order.cum_quote_qty, value),
            "locked": locked,
            "updated_at": self._now,
        }
        if is_complete:
            changes["status"] = VenueOrderStatus.CLOSED
        self._keep(order.model_copy(update=changes))
        self._trade_number += 1
        self._fills.append(
            Fill(
                symbol=submission.symbol,
                venue_order_id=order.venue_order_id,
                trade_id=str(self._trade_number),
                last_qty=quantity,
                last_px=price,
                commission=commission,
                commission_asset=bought_asset(submission),
                liquidity_side="maker" if is_maker else "taker",
                ts_event=self._now,
            )
        )

    def _balance(self, asset: str) -> Balance:
        return self._balances.get(asset) or Balance(asset=asset, free=_ZERO, used=_ZERO, total=_ZERO)

    def _move(self, asset: str, *, total: Decimal = _ZERO, used: Decimal = _ZERO) -> None:
        balance = self._balance(asset)
        new_total, new_used = add(balance.total, total), add(balance.used, used)
        self._balances[asset] = Balance(asset=asset, free=subtract(new_total, new_used), used=new_used, total=new_total)

    def _keep(self, order: PaperOrder) -> PaperOrder:
        self._orders[order.submission.client_order_id] = order
        return order


def _priority(order: PaperOrder) -> tuple[Decimal, int]:
    """Better prices come first, then older orders. Buys and sells need no order between them."""
    price = order.submission.price or _ZERO
    return (EXACT.minus(price) if order.submission.side == OrderSide.BUY else price, int(order.venue_order_id))


def _need(submission: Submission, takes: Sequence[BookLevel]) -> Decimal:
    """Return what the order spends at worst: all of it for a sell, its own price or the levels' for a buy."""
    if submission.side == OrderSide.SELL:
        return submission.quantity
    if submission.price is not None:
        return _value(submission.quantity, submission.price, OrderSide.BUY)
    need = _ZERO
    for level in takes:
        need = add(need, _value(level.quantity, level.price, OrderSide.BUY))
    return need


def _locked_after(order: PaperOrder, quantity: Decimal, spent: Decimal) -> Decimal:
    """Return what stays locked after a trade: what the rest costs at the order's own price, where it has one."""
    submission = order.submission
    released = spent
    if submission.side == OrderSide.BUY and submission.price is not None:
        released = _value(quantity, submission.price, OrderSide.BUY)
    return max(subtract(order.locked, released), _ZERO)


def _value(quantity: Decimal, price: Decimal, side: OrderSide) -> Decimal:
    """Return quote units, to 18 digits. Exact on the symbol's grid; off it a buy pays up and a sell gets less."""
    rounded = round_up_to_step if side is OrderSide.BUY else round_down_to_step
    return rounded(multiply(quantity, price), step=SCALE)


def _total(levels: Sequence[BookLevel]) -> Decimal:
    total = _ZERO
    for level in levels:
        total = add(total, level.quantity)
    return total


def _still_standing(taken: dict[Decimal, Decimal], levels: Sequence[BookLevel]) -> dict[Decimal, Decimal]:
    """Forget what we took of levels that are gone or have shrunk: it is no longer there to be hidden."""
    return {level.price: min(taken[level.price], level.quantity) for level in levels if level.price in taken}


def _levels(taken: dict[Decimal, Decimal]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(price=price, quantity=quantity) for price, quantity in taken.items())
