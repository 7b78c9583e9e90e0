"""A whole stack of real processes whose account trades on the local venue over HTTP, and the questions tests ask it."""

import asyncio
import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2

from api.numbers import write_json
from embedded.child import free_port
from embedded.stack import EmbeddedStack, StackOptions
from simulator.running import API_KEY, SECRET_KEY

FINAL = ("FILLED", "CANCELED", "DENIED", "EXPIRED", "REJECTED")
CONFIG = """
dry_run_mode = false
[accounts.binanceus]
exchange = "binanceus"
mode = "live"
credentials = "env"
[accounts.binanceus.ccxt]
enableRateLimit = false
timeout = 4000
[accounts.binanceus.ccxt.urls.api]
public = "{venue}/api/v3"
private = "{venue}/api/v3"
sapi = "{venue}/sapi/v1"
"""


class Floor:
    """The running stack, seen as its users and its venue see it."""

    def __init__(self, stack: EmbeddedStack, rest: httpx2.AsyncClient, venue: httpx2.AsyncClient) -> None:
        self.stack = stack
        self.rest = rest
        self.venue = venue

    async def place(self, key: str, **fields: Any) -> dict[str, Any]:
        """Place an order over REST, again with the same key whenever the answer is lost, as a caller should."""
        body = write_json(
            {"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "amount": Decimal("0.01"), **fields}
        )
        for _ in range(60):
            try:
                answer = await self.rest.post("/orders", content=body, headers={"Idempotency-Key": key})
            except httpx2.TransportError:
                await asyncio.sleep(0.2)
                continue
            told = answer.json(parse_float=Decimal)
            if answer.status_code in (201, 202):
                return dict(told)
            if "order" in told:
                return dict(told["order"])
            if answer.status_code < 500:
                raise AssertionError(f"{answer.status_code}: {told}")
            await asyncio.sleep(0.2)
        raise AssertionError(f"{key} was never answered")

    async def order(self, order_id: str) -> dict[str, Any]:
        """Return an order as REST shows it; asked again while a part of the stack is down."""
        for _ in range(100):
            with contextlib.suppress(httpx2.TransportError):
                answer = await self.rest.get(f"/orders/binanceus/{order_id}")
                if answer.status_code == 200:
                    return dict(answer.json(parse_float=Decimal))
            await asyncio.sleep(0.2)
        raise AssertionError(f"order {order_id} cannot be read")

    async def until(
        self, order_id: str, reached: Callable[[dict[str, Any]], bool], within_s: float = 60
    ) -> dict[str, Any]:
        """Wait until an order is as wanted."""
        deadline = time.monotonic() + within_s
        while not reached(order := await self.order(order_id)):
            assert time.monotonic() < deadline, f"{order_id} stays {order['lifecycle']}: {order['reason']}"
            await asyncio.sleep(0.1)
        return order

    async def until_final(self, order_id: str, within_s: float = 90) -> dict[str, Any]:
        """Wait until an order has ended."""
        return await self.until(order_id, lambda order: order["lifecycle"] in FINAL, within_s)

    async def fault(self, kind: str, **details: Any) -> None:
        """Ask the venue for a fault."""
        (await self.venue.post("/faults", json={"kind": kind, **details})).raise_for_status()

    async def market(self, symbol: str = "BTCUSDT", **wanted: Any) -> None:
        """Set the market, or fill an order."""
        (await self.venue.post(f"/market/{symbol}", json=wanted)).raise_for_status()

    async def calm(self) -> None:
        """Clear faults and hold the market still."""
        await self.venue.delete("/faults")
        await self.market(price="61250", frozen=True)

    async def venue_ledger(self) -> dict[str, Any]:
        """Return what truly happened."""
        return dict((await self.venue.get("/ledger")).json())

    async def assert_the_venue_agrees(self, orders: list[dict[str, Any]]) -> None:
        """Compare with the venue's own ledger: one working or traded order per ticket, fills and fees to the digit."""
        ledger = await self.venue_ledger()
        attempts = {order["id"]: await self.client_order_ids(order["id"]) for order in orders}
        placed = Counter(entry["clientOrderId"] for entry in ledger["orders"])
        traded: dict[str, Decimal] = {}
        commissions: dict[str, Decimal] = {}
        for fill in ledger["fills"]:
            name = fill["clientOrderId"]
            traded[name] = traded.get(name, Decimal(0)) + Decimal(fill["qty"])
            commissions[name] = commissions.get(name, Decimal(0)) + Decimal(fill["commission"])
        for order in orders:
            ids = attempts[order["id"]]
            at_venue = sum(placed[client_order_id] for client_order_id in ids)
            sent = order["lifecycle"] not in ("DENIED",) and order["client_order_id"] is not None
            rejected = order["lifecycle"] == "REJECTED"
            assert at_venue == (1 if sent and not rejected else 0), f"{order['id']}: {at_venue} orders at the venue"
            filled = sum((traded.get(name, Decimal(0)) for name in ids), Decimal(0))
            assert Decimal(order["filled"]) == filled, f"{order['id']}: {order['filled']} here, {filled} there"
            fees = sum((Decimal(fee["cost"]) for fee in order["fees"]), Decimal(0))
            assert fees == sum((commissions.get(name, Decimal(0)) for name in ids), Decimal(0))

    async def client_order_ids(self, order_id: str) -> list[str]:
        """Return the client order ids of an order's attempts, from its recorded facts."""
        facts = (await self.rest.get(f"/orders/binanceus/{order_id}/events")).json()
        return [fact["client_order_id"] for fact in facts if fact["type"] == "SUBMITTED"]


@contextlib.asynccontextmanager
async def open_floor(
    directory: Path, *, workers: int = 1, more: Mapping[str, str] | None = None
) -> AsyncIterator[Floor]:
    """Bring a stack up in a directory, held still and without faults."""
    for folder in (directory, *directory.parents[:3]):
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o011)
    port = free_port()
    config = directory / "volex.toml"
    config.write_text(CONFIG.format(venue=f"http://127.0.0.1:{port}"))
    keys = {"API_KEY": "test-key", "BINANCEUS_API_KEY": API_KEY, "BINANCEUS_SECRET_KEY": SECRET_KEY}
    options = StackOptions(
        data_dir=directory / "data",
        config=config,
        workers=workers,
        ports={"simulator": port},
        environ={**os.environ, **keys, **(more or {})},
        simulator_arguments=("--balance", "USDT=50000000", "--balance", "BTC=1000", "--tick-interval-s", "0.1"),
    )
    async with (
        EmbeddedStack(options) as stack,
        httpx2.AsyncClient(base_url=stack.ready["api"], headers={"X-API-Key": "test-key"}, timeout=90) as rest,
        httpx2.AsyncClient(base_url=stack.ready["simulator_control"], timeout=10) as venue,
    ):
        floor = Floor(stack, rest, venue)
        await floor.calm()
        yield floor


def figures(name: str, values: Mapping[str, Any]) -> None:
    """Print what was measured, so that a run's output keeps it."""
    print(f"\n{name}: {json.dumps(values, default=str)}")
