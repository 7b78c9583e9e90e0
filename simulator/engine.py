"""The matching engine: every order and trade of one account, kept exact and journaled."""

from collections.abc import Callable
from decimal import Decimal

from simulator import filters
from simulator.account import Account
from simulator.journal import Journal
from simulator.listing import LISTINGS, cut, cut_up, text
from simulator.market import Market
from simulator.orders import Ticket, Trade, VenueOrder
from simulator.recollection import order_of, trade_of
from simulator.refusals import Refusal, duplicate_order, filter_failure, no_such_order, unknown_order, would_take

MAKER_RATE = Decimal("0.0008")
TAKER_RATE = Decimal("0.0010")


class Engine:
    """One account's venue.

    Parameters
    ----------
    clock_ms
        The venue's time in milliseconds.
    slices
        In how many pieces a resting order fills once the market has reached it.
    maker_rate, taker_rate
        Commission as a share, 0 or more.
    fees_in_quote
        Whether commission is taken in quote units while the account has them, as Kraken does; else in what is received.
    takes_crossing_makers
        Whether a maker-only order that would meet the book is taken and canceled at once, as at Kraken; else refused.
    """

    def __init__(
        self,
        *,
        balances: dict[str, Decimal],
        seed: int,
        clock_ms: Callable[[], int],
        journal: Journal,
        slices: int = 3,
        maker_rate: Decimal = MAKER_RATE,
        taker_rate: Decimal = TAKER_RATE,
        fees_in_quote: bool = False,
        takes_crossing_makers: bool = False,
    ) -> None:
        self._fees_in_quote = fees_in_quote
        self._takes_crossing_makers = takes_crossing_makers
        self._clock_ms = clock_ms
        self._journal = journal
        self._slices = slices
        self.maker_rate = maker_rate
        self.taker_rate = taker_rate
        self.account = Account(balances)
        self.markets = {symbol: Market(listing, seed) for symbol, listing in LISTINGS.items()}
        self.orders: dict[str, list[VenueOrder]] = {symbol: [] for symbol in LISTINGS}
        """By symbol, in the order of their ids, which start at 1 in each symbol."""
        self.open: dict[str, dict[int, VenueOrder]] = {symbol: {} for symbol in LISTINGS}
        self.trades: dict[str, list[Trade]] = {symbol: [] for symbol in LISTINGS}
        """By symbol, in the order of their ids, which start at 1 in each symbol."""
        self._by_client_id: dict[tuple[str, str], list[VenueOrder]] = {}
        self._unwritten: list[Trade] = []

    # What is asked of the venue.

    def check(self, ticket: Ticket) -> None:
        """Check a ticket against the symbol's filters. Raises `Refusal`."""
        symbol = ticket.symbol
        filters.check(ticket, listing=LISTINGS[symbol], market=self.markets[symbol], open_orders=len(self.open[symbol]))

    def place(self, ticket: Ticket) -> VenueOrder:
        """Take a new order: check it, lock what it may use, match what crosses. Raises `Refusal`."""
        market = self.markets[ticket.symbol]
        self.check(ticket)
        same_id = self._by_client_id.get((ticket.symbol, ticket.client_order_id), ())
        if any(order.is_open for order in same_id):
            raise duplicate_order()
        would_meet = ticket.type == "LIMIT_MAKER" and market.available(ticket.side, ticket.price) > 0
        if would_meet and not self._takes_crossing_makers:
            raise would_take()
        quantity = ticket.quantity
        if ticket.quote_quantity:
            quantity = market.quantity_for(ticket.side, ticket.quote_quantity)
            if not quantity:
                raise filter_failure("LOT_SIZE")
        order = VenueOrder(
            symbol=ticket.symbol,
            order_id=len(self.orders[ticket.symbol]) + 1,
            client_order_id=ticket.client_order_id,
            side=ticket.side,
            type=ticket.type,
            time_in_force=ticket.time_in_force,
            quantity=quantity,
            price=ticket.price,
            stop_price=ticket.stop_price,
            quote_quantity=ticket.quote_quantity,
            time_ms=self._clock_ms(),
            triggered=not ticket.stop_price,
            expires_ms=ticket.expires_ms,
            user_reference=ticket.user_reference,
        )
        self._lock(order)
        self._keep(order)
        # One reading of the clock for all that happens at once: the answer's time is the time of its trades.
        if would_meet:
            self._end(order, "CANCELED", order.time_ms)
        elif order.triggered:
            self._match(order, order.time_ms)
        self._write(order)
        return order

    def cancel(self, order: VenueOrder) -> VenueOrder:
        """End an open order. Raises `Refusal` when it is not open any more."""
        if not order.is_open:
            raise unknown_order()
        self._end(order, "CANCELED", self._clock_ms())
        self._write(order)
        return order

    def find(self, symbol: str, order_id: int | None, client_order_id: str | None) -> VenueOrder:
        """Return an order by either id, which must agree; of several with one client id, the latest. Raises `Refusal`.

        One that is open comes before all that have ended: client ids are unique among open orders only.
        """
        if order_id is None:
            named = self._by_client_id.get((symbol, client_order_id or ""), ())
            if not named:
                raise no_such_order()
            return next((order for order in named if order.is_open), named[-1])
        orders = self.orders[symbol]
        if not 1 <= order_id <= len(orders) or client_order_id not in (None, orders[order_id - 1].client_order_id):
            raise no_such_order()
        return orders[order_id - 1]

    def with_client_id(self, client_order_id: str) -> list[VenueOrder]:
        """Return every order of a client id, in all symbols."""
        return [order for symbol in LISTINGS for order in self._by_client_id.get((symbol, client_order_id), ())]

    def tick(self) -> None:
        """Let time pass: markets move, orders expire, stops trigger, resting ones that are reached fill a slice."""
        now = self._clock_ms()
        for symbol, market in self.markets.items():
            market.move(now)
            for order in list(self.open[symbol].values()):
                if order.expires_ms and order.expires_ms <= now:
                    self._end(order, "EXPIRED", now)
                    self._write(order)
                elif not order.triggered:
                    self._trigger(order, now)
                else:
                    self._fill_slice(order, now)

    def fill_now(self, order: VenueOrder, quantity: Decimal, price: Decimal | None = None) -> None:
        """Trade some of a resting order at once, as the maker; for tests and faults.

        Raises `ValueError` when it is not open or not priced, when there is not that much left, or for a price worse
        than its own.
        """
        at = price or order.price
        worse = at > order.price if order.side == "BUY" else at < order.price
        if not order.is_open or not order.price or worse or not 0 < quantity <= order.left:
            raise ValueError(
                f"cannot fill {quantity} at {at}: status={order.status}, price={order.price}, left={order.left}"
            )
        now = self._clock_ms()
        self._trade(order, at, quantity, now, is_maker=True)
        self._settle_status(order, now)
        self._write(order)

    def set_balance(self, asset: str, free: Decimal) -> None:
        """Give the account so much of an asset. Raises `ArithmeticError` below zero."""
        self.account.put(asset, free, self.account.locked(asset))
        self._journal.write("balance", {"asset": asset, "free": str(free)})

    # How an order is worked.

    def _lock(self, order: VenueOrder) -> None:
        listing = LISTINGS[order.symbol]
        if order.side == "SELL":
            asset, amount = listing.base, order.left
        elif order.price:
            asset, amount = listing.quote, cut_up(order.left * order.price)
        elif order.triggered:
            asset, amount = listing.quote, cut_up(self.markets[order.symbol].cost(order.left))
        else:
            asset, amount = listing.quote, cut_up(order.left * order.stop_price)
        self.account.lock(asset, amount)
        order.locked = amount

    def _match(self, order: VenueOrder, now: int) -> None:
        market = self.markets[order.symbol]
        limit = order.price or None
        if order.time_in_force == "FOK" and market.available(order.side, limit) < order.quantity:
            self._end(order, "EXPIRED", now)
            return
        for price, quantity in market.take(order.side, order.left, limit):
            self._trade(order, price, quantity, now, is_maker=False)
        self._settle_status(order, now)
        if order.is_open and (limit is None or order.time_in_force == "IOC"):
            self._end(order, "EXPIRED", now)

    def _trigger(self, order: VenueOrder, now: int) -> None:
        price = self.markets[order.symbol].price
        if not (price >= order.stop_price if order.side == "BUY" else price <= order.stop_price):
            return
        order.triggered = True
        if order.price:
            self._match(order, now)
        else:
            # What a market order costs is known only now; what was locked was a guess from its stop price.
            self._unlock(order)
            try:
                self._lock(order)
            except Refusal:
                self._end(order, "EXPIRED", now)
            else:
                self._match(order, now)
        self._write(order)

    def _fill_slice(self, order: VenueOrder, now: int) -> None:
        market, listing = self.markets[order.symbol], LISTINGS[order.symbol]
        reached = market.price <= order.price if order.side == "BUY" else market.price >= order.price
        if not reached:
            return
        if not order.slice_quantity:
            order.slice_quantity = max(order.left / self._slices // listing.step * listing.step, listing.step)
        self._trade(order, order.price, min(order.slice_quantity, order.left), now, is_maker=True)
        self._settle_status(order, now)
        self._write(order)

    def _trade(self, order: VenueOrder, price: Decimal, quantity: Decimal, now: int, *, is_maker: bool) -> None:
        listing, trades = LISTINGS[order.symbol], self.trades[order.symbol]
        # Cut here, once: balances, trades and the order's total then agree to the last digit that the wire shows.
        cost = cut(price * quantity)
        buying = order.side == "BUY"
        received = quantity if buying else cost
        spent_asset, received_asset = (listing.quote, listing.base) if buying else (listing.base, listing.quote)
        rate = self.maker_rate if is_maker else self.taker_rate
        commission, commission_asset = cut(received * rate), received_asset
        spent = cost if buying else quantity
        order.locked -= spent
        self.account.spend(spent_asset, spent)
        self.account.receive(received_asset, received)
        if self._fees_in_quote and self.account.free(listing.quote) >= cut(cost * rate):
            commission, commission_asset = cut(cost * rate), listing.quote
        self.account.receive(commission_asset, -commission)
        trade = Trade(
            symbol=order.symbol,
            trade_id=len(trades) + 1,
            order_id=order.order_id,
            price=price,
            quantity=quantity,
            cost=cost,
            commission=commission,
            commission_asset=commission_asset,
            time_ms=now,
            is_buyer=buying,
            is_maker=is_maker,
        )
        order.executed += quantity
        # A better price than the limit leaves something over, which is free at once.
        kept = cut_up(order.left * order.price) if buying and order.price else order.locked
        self.account.release(spent_asset, order.locked - kept)
        order.locked = kept
        order.cost += cost
        order.trades.append(trade)
        trades.append(trade)
        self.markets[order.symbol].tape.add(now, price, quantity)
        self._unwritten.append(trade)

    def _settle_status(self, order: VenueOrder, now: int) -> None:
        order.update_ms = now
        if order.left == 0:
            self._end(order, "FILLED", now)
        elif order.executed:
            order.status = "PARTIALLY_FILLED"

    def _end(self, order: VenueOrder, status: str, now: int) -> None:
        self._unlock(order)
        order.status = status
        order.update_ms = now
        self.open[order.symbol].pop(order.order_id, None)

    def _unlock(self, order: VenueOrder) -> None:
        listing = LISTINGS[order.symbol]
        self.account.release(listing.quote if order.side == "BUY" else listing.base, order.locked)
        order.locked = Decimal(0)

    def _keep(self, order: VenueOrder) -> None:
        self.orders[order.symbol].append(order)
        if order.is_open:
            self.open[order.symbol][order.order_id] = order
        self._by_client_id.setdefault((order.symbol, order.client_order_id), []).append(order)

    # The venue's memory.

    def _write(self, order: VenueOrder) -> None:
        listing = LISTINGS[order.symbol]
        held = {
            asset: [str(self.account.free(asset)), str(self.account.locked(asset))]
            for asset in (listing.base, listing.quote)
        }
        trades = [trade.wire() for trade in self._unwritten]
        self._unwritten = []
        wire = order.wire()
        _note(order)
        price, piece = text(self.markets[order.symbol].price), text(order.slice_quantity)
        entry: dict[str, object] = {"order": wire, "locked": text(order.locked), "slice": piece, "balances": held}
        entry |= {"trades": trades, "expires_ms": order.expires_ms, "user_reference": order.user_reference}
        self._journal.write("order", {**entry, "price": price})

    def remember(self, entry: dict[str, object]) -> None:
        """Take an entry of the journal of an earlier run, in the order in which they were written."""
        if entry["kind"] == "balance":
            asset = str(entry["asset"])
            self.account.put(asset, Decimal(str(entry["free"])), self.account.locked(asset))
            return
        balances, trades = entry["balances"], entry["trades"]
        assert isinstance(balances, dict) and isinstance(trades, list)
        order = self._remember_order(order_of(entry))
        for trade in map(trade_of, trades):
            self.trades[order.symbol].append(trade)
            order.trades.append(trade)
        for asset, (free, locked) in balances.items():
            self.account.put(asset, Decimal(free), Decimal(locked))
        if "price" in entry:
            self.markets[order.symbol].set_price(Decimal(str(entry["price"])))

    def _remember_order(self, then: VenueOrder) -> VenueOrder:
        orders = self.orders[then.symbol]
        if then.order_id > len(orders):
            self._keep(then)
            order = then
        else:
            order = orders[then.order_id - 1]
            order.status, order.executed, order.cost = then.status, then.executed, then.cost
            order.locked, order.update_ms, order.triggered = then.locked, then.update_ms, then.triggered
            order.slice_quantity = then.slice_quantity
            if not order.is_open:
                self.open[order.symbol].pop(order.order_id, None)
        _note(order)
        return order


def _note(order: VenueOrder) -> None:
    """Add a line to the order's own history, for the control face."""
    time_ms = order.update_ms or order.time_ms
    order.history.append({"time_ms": time_ms, "status": order.status, "executedQty": text(order.executed)})
