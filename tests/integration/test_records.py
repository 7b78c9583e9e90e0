"""Equity and records as people get them: over REST and on the command line, from a whole stack."""

import asyncio
import csv
import io
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from domain.records import COLUMNS, RecordKind
from embedded.stack import EmbeddedStack, StackOptions

pytestmark = pytest.mark.timeout(200)
COMMAND_TIMEOUT_S = 60
YEAR = datetime.now(UTC).year


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedStack]:
    """The whole stack, with a paper account at the local venue."""
    folder: Path = tmp_path_factory.mktemp("records")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    async with EmbeddedStack(StackOptions(data_dir=folder / "data", environ={"PATH": os.environ["PATH"]})) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rest(stack: EmbeddedStack) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the REST interface, with one round trip of trades on record."""
    async with httpx2.AsyncClient(base_url=stack.ready["api"], timeout=70) as client:
        for side in ("buy", "buy", "sell"):
            body = {"symbol": "BTC/USDT", "side": side, "order_type": "market", "amount": 0.002}
            placed = await client.post("/orders?wait=final", json={**body, "strategy": "=1+1"})
            assert placed.status_code == 201, placed.text
        yield client


async def volex(stack: EmbeddedStack, *arguments: str) -> str:
    """Run a command as a process of its own; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *arguments, "--data-dir", str(stack.data.path),
        stdout=PIPE, stderr=PIPE, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_records_of_a_round_trip_add_up_to_the_position(rest: httpx2.AsyncClient) -> None:
    told: dict[str, list[dict[str, Any]]] = {}
    for kind in RecordKind:
        answered = await rest.get(f"/reports/{kind}/binanceus?year={YEAR}")
        assert answered.status_code == 200, answered.text
        told[kind] = answered.json()
        assert all(tuple(row) and set(row) == set(COLUMNS[kind]) for row in told[kind]), kind
    ids = {order["id"] for order in (await rest.get("/orders/binanceus")).json()}
    assert {row["order_id"] for row in told["fills"]} == {row["order_id"] for row in told["orders"]} == ids
    assert len(told["fees"]) == len(told["fills"]) >= 3
    bought = sum(Decimal(row["quantity"]) for row in told["fills"] if row["side"] == "buy")
    closed = sum(Decimal(row["quantity"]) for row in told["gains"])
    assert (bought, closed) == (Decimal("0.004"), Decimal("0.002"))
    average = (await rest.get(f"/reports/gains/binanceus?year={YEAR}&method=average")).json()
    fees = sum(Decimal(row["fee"]) for row in told["fees"] if row["fee_asset"] == "USDT")
    [position] = (await rest.get("/positions/binanceus")).json()
    realized = sum(Decimal(row["gain"]) for row in average) - fees
    assert abs(Decimal(repr(position["realized_pnl"])) - realized) < Decimal("1e-9")
    assert (await rest.get(f"/reports/fills/binanceus?year={YEAR + 1}")).json() == []
    assert (await rest.get(f"/reports/fills/binanceus?year={YEAR}&mode=live")).json() == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/reports/fills/nowhere?year={YEAR}", 404),
        (f"/reports/losses/binanceus?year={YEAR}", 422),
        ("/reports/fills/binanceus", 422),
        ("/reports/fills/binanceus?year=1", 422),
        ("/equity/binanceus?limit=0", 422),
        ("/equity/binanceus?before=yesterday", 422),
        ("/equity/nowhere", 404),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(rest: httpx2.AsyncClient, path: str, status: int) -> None:
    answered = await rest.get(path)
    assert (answered.status_code, answered.headers["content-type"]) == (status, "application/problem+json")


async def test_equity_is_told_in_the_risk_currency_and_paged(rest: httpx2.AsyncClient, stack: EmbeddedStack) -> None:
    async with asyncio.timeout(90):
        while not (curve := (await rest.get("/equity/binanceus?limit=1")).json()) or curve[0]["equity"] is None:
            await asyncio.sleep(0.5)
    [snapshot] = curve
    assert (snapshot["currency"], snapshot["mode"], snapshot["unpriced"]) == ("USDT", "paper", [])
    assert snapshot["equity"] > 1000
    page = await rest.get("/equity/binanceus?limit=1")
    following = page.headers["link"].removeprefix("<").split(">")[0]
    assert [row["taken_at"] for row in (await rest.get(following)).json()] < [snapshot["taken_at"]]
    shown = await volex(stack, "equity", "binanceus", "--limit", "1")
    assert "USDT" in shown
    [told] = json.loads(await volex(stack, "equity", "--limit", "1", "--json"))
    assert told["exchange"] == "binanceus"


async def test_the_command_writes_the_record_that_rest_tells(
    rest: httpx2.AsyncClient, stack: EmbeddedStack, tmp_path: Path
) -> None:
    told = (await rest.get(f"/reports/fills/binanceus?year={YEAR}")).json()
    out = await volex(stack, "report", "fills", "--year", str(YEAR))
    found = list(csv.DictReader(io.StringIO(out)))
    assert [row["trade_id"] for row in found] == [row["trade_id"] for row in told]
    assert {row["strategy"] for row in found} == {"'=1+1"}
    target = tmp_path / "orders.json"
    await volex(stack, "report", "orders", "--year", str(YEAR), "--format", "json", "--output", str(target))
    orders = json.loads(target.read_text("utf-8"))
    assert [order["status"] for order in orders] == ["FILLED"] * 3
    assert {order["requested_by"] for order in orders} != {None}
