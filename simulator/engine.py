"""The matching engine and the account: every order, trade and balance, kept exact and journaled."""

from collections.abc import Callable
from decimal import ROUND_UP, Decimal

from simulator.journal import Journal
from simulator.listing import LISTINGS, Listing, cut, text
from simulator.market import Market
from simulator.orders import Trade, VenueOrder
from simulator.refusals import (
    balance_insufficient,
    duplicate_order,
    filter_failure,
    no_such_order,
    unknown_order,
    would_take,
)

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
    """

    def __init__(
        self, *, balances: dict[str, Decimal], seed: int, clock_ms: Callable[[], int], journal: Journal, slices: int = 3
    ) -> None:
        self._clock_ms = clock_ms
        self._journal = journal
        self._slices = slices
        self.free = dict(balances)
        self.locked: dict[str, Decimal] = {}
        self.markets = {symbol: Market(listing, seed) for symbol, listing in LISTINGS.items()}
        self.orders: dict[tuple[str, int], VenueOrder] = {}
        self.by_client_id: dict[tuple[str, str], list[VenueOrder]] = {}
        self.open: dict[tuple[str, int], VenueOrder] = {}
        self.trades: dict[str, list[Trade]] = {symbol: [] for symbol in LISTINGS}
        self._last_order: dict[str, int] = {}
        self._unwritten: list[Trade] = []
        self._remember()

    # What is asked of the venue.

    def place(
        self,
        *,
        symbol: str,
        side: str,
        kind: str,
        quantity: Decimal,
        price: Decimal | None,
        stop_price: Decimal | None,
        time_in_force: str,
        client_order_id: str,
    ) -> VenueOrder:
        """Take a new order: check it, lock what it may use, match what crosses. Raises `Refusal`."""
        listing, market = LISTINGS[symbol], self.markets[symbol]
        self._check(listing, market, kind, side, quantity, price, stop_price)
        if any(order.is_open for order in self.by_client_id.get((symbol, client_order_id), [])):
            raise duplicate_order()
        crosses = kind != "MARKET" and market.available(side, price) > 0
        if kind == "LIMIT_MAKER" and crosses:
            raise would_take()
        now = self._clock_ms()
        order = VenueOrder(
            symbol=symbol,
            order_id=self._last_order.get(symbol, 0) + 1,
            client_order_id=client_order_id,
            side=side,
            type=kind,
            time_in_force=time_in_force,
            quantity=quantity,
            price=price or Decimal(0),
            stop_price=stop_price or Decimal(0),
            time_ms=now,
            triggered=stop_price is None,
        )
        self._lock(order, listing, market)
        self._last_order[symbol] = order.order_id
        self._keep(order)
        if order.triggered:
            self._match(order)
        self._write(order)
        return order

    def cancel(self, order: VenueOrder) -> VenueOrder:
        """End an open order. Raises `Refusal` when it is not open any more."""
        if not order.is_open:
            raise unknown_order()
        self._end(order, "CANCELED")
        self._write(order)
        return order

    def find(self, symbol: str, order_id: int | None, client_order_id: str | None) -> VenueOrder:
        """Return an order by either id; of several with one client id, the latest. Raises `Refusal`."""
        if order_id is not None:
            found = self.orders.get((symbol, order_id))
        else:
            named = self.by_client_id.get((symbol, client_order_id or ""), [])
            found = named[-1] if named else None
        if found is None:
            raise no_such_order()
        return found

    def tick(self) -> None:
        """Let time pass: markets move, stops trigger, resting orders that the market reached fill a slice."""
        for market in self.markets.values():
            market.move()
        for order in list(self.open.values()):
            if not order.triggered:
                self._trigger(order)
            elif order.is_open and order.price:
                self._fill_slice(order)

    def fill_now(self, order: VenueOrder, quantity: Decimal, price: Decimal | None = None) -> None:
        """Trade some of a resting order at once, as the maker; for tests and faults."""
        self._trade(order, price or order.price, min(quantity, order.left), is_maker=True)
        self._settle_status(order)
        self._write(order)

    # How an order is checked and worked.

    def _check(
        self,
        listing: Listing,
        market: Market,
        kind: str,
        side: str,
        quantity: Decimal,
        price: Decimal | None,
        stop_price: Decimal | None,
    ) -> None:
        if quantity < listing.min_qty or quantity > listing.max_qty or quantity % listing.step:
            raise filter_failure("LOT_SIZE")
        for value in (price, stop_price):
            if value is not None and (value < listing.tick or value % listing.tick):
                raise filter_failure("PRICE_FILTER")
        if price is not None and not market.price / 5 <= price <= market.price * 5:
            raise filter_failure("PERCENT_PRICE_BY_SIDE")
        if quantity * (price or market.price) < listing.min_notional:
            raise filter_failure("NOTIONAL")
        if sum(1 for order in self.open.values() if order.symbol == listing.symbol) >= listing.max_orders:
            raise filter_failure("MAX_NUM_ORDERS")

    def _lock(self, order: VenueOrder, listing: Listing, market: Market) -> None:
        if order.side == "SELL":
            asset, amount = listing.base, order.quantity
        else:
            worst = order.price or max(market.asks[-1].price, order.stop_price)
            asset, amount = listing.quote, cut_up(order.quantity * worst)
            if not order.price:
                amount = min(amount, self._market_cost(market, order.quantity))
        if self.free.get(asset, Decimal(0)) < amount:
            raise balance_insufficient()
        order.locked = amount
        self._move_locked(asset, amount)

    def _market_cost(self, market: Market, quantity: Decimal) -> Decimal:
        cost, left = Decimal(0), quantity
        for level in market.asks:
            taken = min(level.quantity, left)
            cost += taken * level.price
            left -= taken
        return cut_up(cost + left * market.asks[-1].price)

    def _match(self, order: VenueOrder) -> None:
        market = self.markets[order.symbol]
        limit = order.price or None
        if order.time_in_force == "FOK" and market.available(order.side, limit) < order.quantity:
            self._end(order, "EXPIRED")
            return
        for price, quantity in market.take(order.side, order.left, limit):
            self._trade(order, price, quantity, is_maker=False)
        self._settle_status(order)
        if order.is_open and (limit is None or order.time_in_force in ("IOC", "FOK")):
            self._end(order, "EXPIRED")

    def _trigger(self, order: VenueOrder) -> None:
        price = self.markets[order.symbol].price
        reached = price >= order.stop_price if order.side == "BUY" else price <= order.stop_price
        if reached:
            order.triggered = True
            self._match(order)
            self._write(order)

    def _fill_slice(self, order: VenueOrder) -> None:
        market, listing = self.markets[order.symbol], LISTINGS[order.symbol]
        reached = market.price <= order.price if order.side == "BUY" else market.price >= order.price
        if not reached:
            return
        if not order.slice_quantity:
            order.slice_quantity = max(order.left / self._slices // listing.step * listing.step, listing.step)
        self._trade(order, order.price, min(order.slice_quantity, order.left), is_maker=True)
        self._settle_status(order)
        self._write(order)

    def _trade(self, order: VenueOrder, price: Decimal, quantity: Decimal, *, is_maker: bool) -> None:
        listing = LISTINGS[order.symbol]
        rate = MAKER_RATE if is_maker else TAKER_RATE
        cost = price * quantity
        buying = order.side == "BUY"
        commission = cut((quantity if buying else cost) * rate)
        trades = self.trades[order.symbol]
        trade = Trade(
            symbol=order.symbol,
            trade_id=trades[-1].trade_id + 1 if trades else 1,
            order_id=order.order_id,
            price=price,
            quantity=quantity,
            commission=commission,
            commission_asset=listing.base if buying else listing.quote,
            time_ms=self._clock_ms(),
            is_buyer=buying,
            is_maker=is_maker,
        )
        trades.append(trade)
        order.trades.append(trade)
        order.executed += quantity
        order.cost += cost
        spent = cost if buying else quantity
        asset, received_asset = (listing.quote, listing.base) if buying else (listing.base, listing.quote)
        self.locked[asset] -= spent
        order.locked -= spent
        received = (quantity if buying else cost) - commission
        self.free[received_asset] = self.free.get(received_asset, Decimal(0)) + received
        self._unwritten.append(trade)

    def _settle_status(self, order: VenueOrder) -> None:
        order.update_ms = self._clock_ms()
        if order.left == 0:
            self._end(order, "FILLED")
        elif order.executed:
            order.status = "PARTIALLY_FILLED"

    def _end(self, order: VenueOrder, status: str) -> None:
        listing = LISTINGS[order.symbol]
        asset = listing.quote if order.side == "BUY" else listing.base
        self._move_locked(asset, -order.locked)
        order.locked = Decimal(0)
        order.status = status
        order.update_ms = self._clock_ms()
        self.open.pop((order.symbol, order.order_id), None)

    def _move_locked(self, asset: str, amount: Decimal) -> None:
        self.free[asset] = self.free.get(asset, Decimal(0)) - amount
        self.locked[asset] = self.locked.get(asset, Decimal(0)) + amount

    def _keep(self, order: VenueOrder) -> None:
        key = (order.symbol, order.order_id)
        self.orders[key] = order
        if order.is_open:
            self.open[key] = order
        self.by_client_id.setdefault((order.symbol, order.client_order_id), []).append(order)

    # The venue's memory.

    def _write(self, order: VenueOrder) -> None:
        listing = LISTINGS[order.symbol]
        held = {
            asset: [str(self.free.get(asset, Decimal(0))), str(self.locked.get(asset, Decimal(0)))]
            for asset in (listing.base, listing.quote)
        }
        trades = [trade.wire() for trade in self._unwritten]
        self._unwritten = []
        entry = {"order": order.wire(), "locked": text(order.locked), "balances": held, "trades": trades}
        self._journal.write("order", entry)

    def _remember(self) -> None:
        for entry in self._journal.read():
            if entry["kind"] == "order":
                self._remember_order(entry)

    def _remember_order(self, entry: dict[str, object]) -> None:
        order = _order_of(entry)
        key = (order.symbol, order.order_id)
        known = self.orders.get(key)
        if known is None:
            self._last_order[order.symbol] = order.order_id
            self._keep(order)
        else:
            order.trades = known.trades
            known.__dict__.update(order.__dict__)
            if not known.is_open:
                self.open.pop(key, None)
        balances, trades = entry["balances"], entry["trades"]
        assert isinstance(balances, dict) and isinstance(trades, list)
        for trade in map(_trade_of, trades):
            self.trades[trade.symbol].append(trade)
            self.orders[key].trades.append(trade)
        for asset, (free, locked) in balances.items():
            self.free[asset], self.locked[asset] = Decimal(free), Decimal(locked)


def cut_up(value: Decimal) -> Decimal:
    """Round an amount to be locked up to the eight places that the venue keeps."""
    return value.quantize(Decimal("0.00000001"), rounding=ROUND_UP)


def _trade_of(entry: dict[str, object]) -> Trade:
    wire = {name: str(value) for name, value in entry.items()}
    return Trade(
        symbol=wire["symbol"],
        trade_id=int(wire["id"]),
        order_id=int(wire["orderId"]),
        price=Decimal(wire["price"]),
        quantity=Decimal(wire["qty"]),
        commission=Decimal(wire["commission"]),
        commission_asset=wire["commissionAsset"],
        time_ms=int(wire["time"]),
        is_buyer=entry["isBuyer"] is True,
        is_maker=entry["isMaker"] is True,
    )


def _order_of(entry: dict[str, object]) -> VenueOrder:
    wire = entry["order"]
    assert isinstance(wire, dict)
    return VenueOrder(
        symbol=wire["symbol"],
        order_id=wire["orderId"],
        client_order_id=wire["clientOrderId"],
        side=wire["side"],
        type=wire["type"],
        time_in_force=wire["timeInForce"],
        quantity=Decimal(wire["origQty"]),
        price=Decimal(wire["price"]),
        stop_price=Decimal(wire["stopPrice"]),
        time_ms=wire["time"],
        status=wire["status"],
        executed=Decimal(wire["executedQty"]),
        cost=Decimal(wire["cummulativeQuoteQty"]),
        locked=Decimal(str(entry["locked"])),
        update_ms=wire["updateTime"],
        triggered=bool(wire["isWorking"]),
    )
