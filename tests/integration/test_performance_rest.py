"""From an order over REST to its measure and its reports, on plain Postgres and on TimescaleDB, with real processes."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from embedded.stack import ALL_PARTS, EmbeddedStack, StackOptions
from storage.continuity import start_anew
from storage.hypertables import SERIES
from storage.migrate import upgrade
from tests.timescale_server import TimescaleServer

pytestmark = pytest.mark.timeout(200)
MARKET = {"symbol": "BTC/USDT", "order_type": "market", "amount": 0.002}
RESTING = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "amount": 0.002, "price": 50000}


@dataclass
class House:
    """The stack, and where its ledger is."""

    stack: EmbeddedStack
    rest: httpx2.AsyncClient
    database: str
    has_timescale: bool

    async def volex(self, *arguments: str) -> str:
        """Run a command as a process of its own; return what it printed."""
        where = () if arguments[0] == "db" else ("--data-dir", str(self.stack.data.path))
        command = [sys.executable, "-m", "cli.main", *arguments, *where]
        environ = {"PATH": os.environ["PATH"], "DATABASE_URL": self.database}
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environ)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode() + out.decode()
        return out.decode()

    async def ask(self, path: str) -> Any:
        """Return an answer with exact numbers."""
        answer = await self.rest.get(path)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_float=Decimal)


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["postgres", "timescaledb"])
async def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The whole stack with a paper account at the local venue, its ledger in one of the two."""
    folder: Path = tmp_path_factory.mktemp("house")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    options: dict[str, Any] = {"data_dir": folder / "data", "environ": {"PATH": os.environ["PATH"]}}
    url = ""
    if request.param == "timescaledb":
        server: TimescaleServer = request.getfixturevalue("timescale")
        url = await server.new_database()
        await upgrade(url)
        await start_anew(url)
        config = folder / "volex.toml"
        config.write_text(f'database_url = "{url}"\n')
        options |= {"config": config, "parts": ALL_PARTS - {"postgres"}}
    async with (
        EmbeddedStack(StackOptions(**options)) as stack,
        httpx2.AsyncClient(base_url=stack.ready["api"], timeout=70) as rest,
    ):
        yield House(stack, rest, url or stack.ready["database"], bool(url))


async def test_orders_are_measured_and_reported(house: House, tmp_path: Path) -> None:
    placed = []
    for side, strategy in (("buy", "momentum"), ("buy", None), ("sell", "momentum")):
        answer = await house.rest.post("/orders?wait=final", json={**MARKET, "side": side, "strategy": strategy})
        assert answer.status_code == 201, answer.text
        placed.append(json.loads(answer.text, parse_float=Decimal))
    resting = (await house.rest.post("/orders", json=RESTING)).json()
    assert (await house.rest.delete(f"/orders/binanceus/{resting['id']}")).json()["lifecycle"] == "CANCELED"
    async with asyncio.timeout(60):
        while len(measured := await house.ask("/performance/orders")) < 4:
            await asyncio.sleep(0.2)
    found = {row["id"]: row for row in measured}
    for order in placed:
        await _assert_measured(house, order, found[order["id"]])
    assert found[resting["id"]]["lifecycle"] == "CANCELED"
    assert (found[resting["id"]]["fill_ratio"], found[resting["id"]]["slippage_bps"]) == (0, None)
    groups = {row["key"]: row for row in await house.ask("/performance?by=strategy")}
    assert {key: row["orders"] for key, row in groups.items()} == {"": 2, "momentum": 2}
    assert groups["momentum"]["with_arrival"] == 2
    assert groups["momentum"]["notional"] == placed[0]["cost"] + placed[2]["cost"]
    [venue] = await house.ask("/performance?by=venue&symbol=BTC/USDT&exchange=binanceus")
    assert (venue["key"], venue["orders"], venue["mode"], venue["currency"]) == ("binanceus", 4, "paper", "USDT")
    assert len(await house.ask(f"/reports/fills/binanceus?year={datetime.now(UTC).year}")) >= 3
    if not house.has_timescale:  # the command reads REST, whatever the ledger is
        await _assert_the_command_tells_the_same(house, tmp_path / "tca.html")
    await _assert_where_it_is_kept(house)


async def _assert_measured(house: House, order: dict[str, Any], row: dict[str, Any]) -> None:
    """Compare with what the order's own facts say."""
    events = await house.ask(f"/orders/binanceus/{order['id']}/events")
    [arrival] = [event["arrival"] for event in events if "arrival" in event]
    middle = (Fraction(arrival["bid"]) + Fraction(arrival["ask"])) / 2
    sign = 1 if order["side"] == "buy" else -1
    slippage = sign * (Fraction(order["average"]) - middle) / middle * 10_000
    assert (row["arrival_source"], Fraction(row["arrival_price"])) == ("quote", middle)
    assert abs(Fraction(row["slippage_bps"]) - slippage) < Fraction(1, 10**9)
    assert (row["filled"], row["fill_ratio"], row["average"]) == (order["filled"], 1, order["average"])
    fees = sum(fee["cost"] * (1 if fee["currency"] == "USDT" else order["average"]) for fee in order["fees"])
    assert abs(row["fees"] - fees) < Decimal("1e-9")
    assert row["implementation_shortfall"] == row["execution_cost"] + row["fees"]
    latency = row["latency_ms"]
    assert all(0 < latency[stage] < 60_000 for stage in ("admit", "send", "venue", "first_fill", "persist")), latency
    assert latency["last_fill"] >= latency["first_fill"]


async def _assert_the_command_tells_the_same(house: House, target: Path) -> None:
    until = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    told, shown, nothing = await asyncio.gather(
        house.volex("tca", "--by", "strategy", "--until", until, "--json"),
        house.volex("tca", "--by", "strategy", "--html", str(target)),
        house.volex("tca", "--symbol", "ETH/USDT"),
    )
    assert json.loads(told, parse_float=Decimal) == await house.ask("/performance?by=strategy")
    assert "momentum" in shown and "(no strategy)" in shown
    assert "No order" in nothing
    page = target.read_text("utf-8")
    assert page.count("<svg") == 6
    assert page.count("<circle") == 3, "a dot for each order whose slippage is known"
    assert "(no strategy)" in page


async def _assert_where_it_is_kept(house: House) -> None:
    connection = await asyncpg.connect(house.database)
    try:
        query = "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"
        assert bool(await connection.fetchval(query)) is house.has_timescale
        if house.has_timescale:
            chunked = await connection.fetch("SELECT DISTINCT hypertable_name FROM timescaledb_information.chunks")
            assert {row[0] for row in chunked} == set(SERIES)
    finally:
        await connection.close()
    examined, upgraded, anew = await asyncio.gather(
        house.volex("doctor", "--json"), house.volex("db", "upgrade"), house.volex("db", "measure", "--since", "1h")
    )
    assert "up to date" in upgraded and ("hypertables equity_snapshots, marks" in upgraded) is house.has_timescale
    assert anew == "4 orders measured.\n"
    told = {row["check"]: row for row in json.loads(examined)}
    assert told["samples"]["state"] == "ok"
    assert ("hypertables" in told["samples"]["found"]) is house.has_timescale


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/performance?by=weather", 422),
        ("/performance?since=yesterday", 422),
        ("/performance?exchange=nowhere", 404),
        ("/performance/orders?limit=0", 422),
        ("/performance/orders?before=%27", 422),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(house: House, path: str, status: int) -> None:
    answered = await house.rest.get(path)
    assert (answered.status_code, answered.headers["content-type"]) == (status, "application/problem+json")
