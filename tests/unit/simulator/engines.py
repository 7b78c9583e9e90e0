"""An engine whose clock and market stand still until a test moves them."""

from decimal import Decimal
from pathlib import Path

from simulator.engine import Engine
from simulator.journal import Journal
from simulator.orders import Ticket, VenueOrder

D = Decimal
SYMBOL = "BTCUSDT"
PRICE = D(100)
BALANCES = {"BTC": D(10), "USDT": D(100_000), "ETH": D(50)}


class Clock:
    """Milliseconds that pass by one at each look."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms


def engine_at(price: Decimal = PRICE, *, journal: Path | None = None, slices: int = 3) -> Engine:
    """Return an engine with BTC/USDT held at a price."""
    engine = Engine(balances=BALANCES, seed=7, clock_ms=Clock(), journal=Journal(journal), slices=slices)
    hold(engine, price)
    return engine


def hold(engine: Engine, price: Decimal, symbol: str = SYMBOL) -> None:
    """Put the market at a price and keep it there."""
    engine.markets[symbol].frozen = True
    engine.markets[symbol].set_price(price)


def place(
    engine: Engine,
    quantity: str,
    price: str | None = None,
    *,
    side: str = "BUY",
    type: str | None = None,
    stop_price: str = "0",
    time_in_force: str = "GTC",
    client_order_id: str = "c1",
    symbol: str = SYMBOL,
    quote_quantity: str = "0",
) -> VenueOrder:
    """Place an order: a limit order with a price, a market order without."""
    return engine.place(
        Ticket(
            symbol=symbol,
            side=side,
            type=type or ("LIMIT" if price else "MARKET"),
            quantity=D(quantity),
            client_order_id=client_order_id,
            price=D(price or 0),
            stop_price=D(stop_price),
            time_in_force=time_in_force,
            quote_quantity=D(quote_quantity),
        )
    )
