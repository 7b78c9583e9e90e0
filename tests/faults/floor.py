"""A whole stack of real processes whose account trades on the local venue over HTTP, and the questions tests ask it."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from api.numbers import write_json
from embedded.child import free_port
from embedded.stack import ALL_PARTS, EmbeddedStack, StackOptions
from simulator.running import API_KEY, SECRET_KEY
from storage.audit_store import verify
from storage.database import open_engine
from tests.faults import audit

FENCE_S = 7
"""Shorter than the usual 16 s, and sound: Binance's window of 5 s, the visibility lag of 1.5 s here, and a margin."""
RICH = ("USDT=50000000", "BTC=1000", "ETH=1000")
FINAL = ("FILLED", "CANCELED", "DENIED", "EXPIRED", "REJECTED")
CONFIG = """
dry_run_mode = false
[accounts.binanceus]
exchange = "binanceus"
mode = "live"
credentials = "env"
time_fence_s = {fence_s}
stops = "{stops}"
[risk]
max_order_notional = "{max_notional}"
[accounts.binanceus.ccxt]
enableRateLimit = false
timeout = 4000
[accounts.binanceus.ccxt.urls.api]
public = "{venue}/api/v3"
private = "{venue}/api/v3"
sapi = "{venue}/sapi/v1"
"""
REST_HEADERS = {"X-API-Key": "test-key", "Content-Type": "application/json"}
PAPER = """
[accounts.paper]
exchange = "binanceus"
[accounts.paper.ccxt.urls.api]
public = "{venue}/api/v3"
"""
"""A second account, that trades on paper against the same market."""


class Floor:
    """The running stack, seen as its users and its venue see it."""

    def __init__(self, stack: EmbeddedStack, rest: httpx2.AsyncClient, venue: httpx2.AsyncClient) -> None:
        self.stack = stack
        self.rest = rest
        self.venue = venue
        self._database: asyncpg.Connection | None = None

    @property
    def database(self) -> asyncpg.Connection:
        """A connection to the ledger, to read what no interface shows."""
        assert self._database is not None, "the ledger is opened by open_floor"
        return self._database

    async def open_database(self) -> None:
        """Connect to the ledger, anew after Postgres was killed."""
        await self.close_database()
        self._database = await asyncpg.connect(self.stack.ready["database"], timeout=10)

    async def close_database(self) -> None:
        """Let the ledger go."""
        if self._database is not None:
            self._database.terminate()

    async def until_reconciled(self, within_s: float = 60) -> None:
        """Wait until the account has been compared with its venue once; before that, no order is admitted."""
        async with asyncio.timeout(within_s):
            while not await self.database.fetchval("SELECT count(reconciled_at) FROM account_states"):
                await asyncio.sleep(0.05)

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

    async def assert_the_venue_agrees(self, orders: list[dict[str, Any]]) -> int:
        """Compare with the venue's own ledger; `orders` are all that were placed and not amended.

        One order at the venue for each ticket that reached it, none for the others; fills, costs and fees to the
        digit; one POST for each journaled attempt. Returns how many of them were sent anew after a proof.
        """
        books = await audit.read_books(self.database, self.venue)
        audit.assert_one_post_per_attempt(books)
        for order in orders:
            expected = 0 if order["lifecycle"] in ("DENIED", "REJECTED") else 1
            found = audit.orders_at_venue(order["id"], books)
            assert found == expected, f"{order['id']} {order['lifecycle']}: {found} orders at the venue"
            audit.assert_order_agrees(order, books)
        resent = audit.assert_resent_only_after_the_fence(books, fence_s=FENCE_S)
        return len(resent & {order["id"] for order in orders})

    async def assert_the_books_close(self) -> None:
        """With nothing open, nothing may be left over: no case, no reservation, no balance that differs."""
        await audit.assert_the_books_close(self.database, self.venue)

    async def until_requests(self, count: int, *, method: str = "POST", prefix: str = "", within_s: float = 20) -> None:
        """Wait until so many requests of a kind have arrived at the venue for orders with ids of that prefix."""
        async with asyncio.timeout(within_s):
            while await self.requests(method=method, prefix=prefix) < count:
                await asyncio.sleep(0.02)

    async def requests(self, *, method: str = "POST", prefix: str = "") -> int:
        """Return how many requests of a kind have arrived at the venue."""
        seen = (await self.venue.get("/requests")).json()
        names = ("newClientOrderId", "origClientOrderId", "orderId", "symbol")
        return sum(
            1
            for entry in seen
            if entry["method"] == method and any(str(entry.get(name, "")).startswith(prefix) for name in names)
        )


def live_account(
    directory: Path,
    venue_url: str,
    keys: tuple[str, str],
    *,
    fence_s: int = FENCE_S,
    max_notional: str = "100000",
    stops: str = "native",
    with_paper: bool = False,
) -> dict[str, Any]:
    """Write a configuration with one live account at a venue; return what `StackOptions` needs to use it."""
    for folder in (directory, *directory.parents[:3]):
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o011)
    config = directory / "volex.toml"
    written = CONFIG + (PAPER if with_paper else "")
    config.write_text(written.format(venue=venue_url, fence_s=fence_s, max_notional=max_notional, stops=stops))
    secrets = {"API_KEY": "test-key", "BINANCEUS_API_KEY": keys[0], "BINANCEUS_SECRET_KEY": keys[1]}
    return {"data_dir": directory / "data", "config": config, "environ": {**os.environ, **secrets}}


def _take_keys_from_vault(account: dict[str, Any], vault: Mapping[str, str]) -> None:
    config: Path = account["config"]
    config.write_text(config.read_text().replace('credentials = "env"', 'credentials = "vault"'))
    own = {name: value for name, value in account["environ"].items() if not name.startswith("BINANCEUS_")}
    account["environ"] = {**own, **vault}


@contextlib.asynccontextmanager
async def open_stack(options: StackOptions, venue_control_url: str) -> AsyncIterator[Floor]:
    """Bring a stack up, with clients of its REST interface and of the venue's own ledger."""
    async with (
        EmbeddedStack(options) as stack,
        httpx2.AsyncClient(base_url=stack.ready["api"], headers=REST_HEADERS, timeout=90) as rest,
        httpx2.AsyncClient(base_url=venue_control_url, timeout=10) as venue,
    ):
        floor = Floor(stack, rest, venue)
        await floor.open_database()
        try:
            yield floor
        finally:
            await floor.close_database()


@contextlib.asynccontextmanager
async def open_floor(
    directory: Path,
    *,
    workers: int = 1,
    fence_s: int = FENCE_S,
    max_notional: str = "100000",
    balances: Sequence[str] = RICH,
    vault: Mapping[str, str] | None = None,
    stops: str = "native",
    with_paper: bool = False,
    environ: Mapping[str, str] | None = None,
    parts: frozenset[str] = ALL_PARTS,
) -> AsyncIterator[Floor]:
    """Bring a stack and the local venue up in a directory, held still and without faults.

    With `vault`, an environment that leads to a Vault, the account's keys come from there; `environ` holds further
    settings.
    """
    port, control_port = free_port(), free_port()
    account = live_account(
        directory,
        f"http://127.0.0.1:{port}",
        (API_KEY, SECRET_KEY),
        fence_s=fence_s,
        max_notional=max_notional,
        stops=stops,
        with_paper=with_paper,
    )
    if vault is not None:
        _take_keys_from_vault(account, vault)
    account["environ"] |= environ or {}
    options = StackOptions(
        **account,
        workers=workers,
        parts=parts,
        ports={"simulator": port, "simulator_control": control_port},
        simulator_arguments=(*(word for held in balances for word in ("--balance", held)), "--tick-interval-s", "0.1"),
    )
    async with open_stack(options, f"http://127.0.0.1:{control_port}") as floor:
        await floor.calm()
        yield floor
        await assert_the_log_is_whole(floor)


async def assert_the_log_is_whole(floor: Floor) -> None:
    """Whatever was killed: nobody changed a row by hand, and the audit log has no doubt about it."""
    engine = open_engine(floor.stack.ready["database"], application_name="test")
    try:
        verdict = await verify(engine)
    finally:
        await engine.dispose()
    assert not verdict.found, verdict.found[:5]
    assert verdict.entries, "the stack has placed orders"


def figures(name: str, values: Mapping[str, Any]) -> None:
    """Print what was measured, so that a run's output keeps it."""
    print(f"\n{name}: {json.dumps(values, default=str)}")
