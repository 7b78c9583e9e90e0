"""The paper venue behind the contract suite: its book on a real Postgres, over a market that the test sets."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ports import Exchange
from exchanges.paper_exchange import PaperExchange, PaperTerms
from storage.database import open_engine
from storage.paper_store import SqlPaperBook
from tests.scripted_market import ScriptedMarket

TERMS = PaperTerms(
    opening_balances={"BTC": Decimal(10), "USDT": Decimal(100_000)},
    latency_ms=5,
    book_fresh_ms=0,
    look_interval_ms=0,
)


class PaperDriver:
    """A new account of the paper venue."""

    has_stops = True
    has_fok = True

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._market = ScriptedMarket()
        self._account = f"paper-{uuid.uuid4().hex[:12]}"
        self.exchange: Exchange = PaperExchange(
            self._market, SqlPaperBook(engine), account=self._account, clock=lambda: datetime.now(UTC), terms=TERMS
        )

    async def set_price(self, price: Decimal) -> None:
        """Put a still book of ten levels a cent apart around the price, and let resting orders meet it."""
        cents = [Decimal(level) / 100 for level in range(1, 11)]
        self._market.show(
            bids=[(str(price - away), "3") for away in cents], asks=[(str(price + away), "3") for away in cents]
        )
        self._market.last = price
        await self.exchange.fetch_open_orders()

    async def order_count(self, client_order_id: str) -> int:
        """Count the rows of the book."""
        query = "SELECT count(*) FROM paper_orders WHERE account = :account AND client_order_id = :client_order_id"
        return int(await self._ask(query, client_order_id) or 0)

    async def filled(self, client_order_id: str) -> Decimal:
        """Sum the trades in the book."""
        query = """
            SELECT sum((f.document ->> 'last_qty')::numeric)
            FROM paper_fills f JOIN paper_orders o USING (account, symbol, venue_order_id)
            WHERE account = :account AND client_order_id = :client_order_id
        """
        return Decimal(await self._ask(query, client_order_id) or 0)

    async def _ask(self, query: str, client_order_id: str) -> int | Decimal | None:
        parameters = {"account": self._account, "client_order_id": client_order_id}
        async with self._engine.connect() as connection:
            answer: int | Decimal | None = (await connection.execute(text(query), parameters)).scalar_one()
            return answer


@asynccontextmanager
async def paper_driver(database_url: str) -> AsyncIterator[PaperDriver]:
    """Open an account over the database, with connections of the running loop."""
    engine = open_engine(database_url, application_name="contract", pool_size=5)
    driver = PaperDriver(engine)
    try:
        yield driver
    finally:
        await driver.exchange.close()
        await engine.dispose()
