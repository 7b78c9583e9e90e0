"""Every denial code, brought about through the REST interface, with the numbers that led to it.

A code that says that something is not known is asked again for a minute before the order is denied. So these orders
are placed first and looked at last, and the minute passes while the other cases run.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio
from aiohttp import web

from domain.denials import DENIALS
from embedded.child import free_port
from embedded.stack import EmbeddedStack, StackOptions
from tests.risk_agent_server import SECRET, AgentServer, saying

CONFIG: Final = """
dry_run_mode = false
[paper.balances]
USDT = "100000"
USD = "100000"
BTC = "10"
ETH = "100"
{accounts}
[risk]
max_order_notional = "1000000000"
[risk.agent]
url = "{agent}"
scopes = ["strategy:agent-denies", "strategy:agent-holds", "strategy:agent-rambles"]
[risk.strategies]
allow = {{ allowed_symbols = ["ETH/USDT"] }}
deny = {{ denied_symbols = ["BTC/USDT"] }}
hours = {{ trading_hours = "mon 00:00-00:01" }}
quantity = {{ max_order_quantity = "0.0005" }}
notional = {{ max_order_notional = "10" }}
band = {{ max_price_deviation = "0.05" }}
slip = {{ max_slippage = "0" }}
book = {{ max_book_share = "0.000001" }}
twin = {{ duplicate_window_s = 3600 }}
self = {{ forbid_self_trade = true }}
position = {{ max_position_quantity = {{ "BTC/USDT" = "0.0015" }} }}
worth = {{ max_position_notional = "10" }}
gross = {{ max_gross_exposure = "10" }}
net = {{ max_net_exposure = "10" }}
share = {{ max_concentration = "0.5" }}
open = {{ max_open_orders = 1 }}
rate = {{ max_orders_per_minute = 1 }}
turnover = {{ max_turnover_per_day = "10" }}
loss = {{ max_daily_loss = "0" }}
drawdown = {{ max_drawdown = "0" }}
stops = {{ max_stop_outs = 1 }}
cool = {{ cooldown_after_stop_s = 3600 }}
profit = {{ min_profit = "1000" }}
big = {{ approval_above_notional = "10" }}
valued = {{ max_gross_exposure = "1000000" }}
"""
ACCOUNT: Final = """
[accounts.{name}]
exchange = "binanceus"
mode = "{mode}"
credentials = "{credentials}"
[accounts.{name}.ccxt]
timeout = 2000
[accounts.{name}.ccxt.urls.api]
public = "{venue}/api/v3"
private = "{venue}/api/v3"
sapi = "{venue}/sapi/v1"
"""
NO_TICKER: Final = "SOLUSDT"
NO_BOOK: Final = "ETHBTC"
SILENT: Final = "BTCUSD"
STOPPED: Final = "ETHUSDT"
"""Markets with something wrong, so that the others have nothing."""

Body = Mapping[str, Any]
BUY: Final = {"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "amount": 0.001, "price": 50000}
MARKET: Final = {"symbol": "BTC/USDT", "side": "buy", "order_type": "market", "amount": 0.001}
DOGE: Final = {**BUY, "symbol": "DOGE/USDT", "amount": 100, "price": 0.3}
ETHER: Final = {**MARKET, "symbol": "ETH/USDT", "amount": 0.1}

REFUSED_AT_ONCE: dict[str, Body] = {
    "PRICE_MISSING": {**MARKET, "order_type": "limit"},
    "PRICE_SUPERFLUOUS": {**MARKET, "price": 50000},
    "TRIGGER_PRICE_MISSING": {**MARKET, "order_type": "stop"},
    "TRIGGER_PRICE_SUPERFLUOUS": {**BUY, "stop_price": 50000},
    "POST_ONLY_IMPOSSIBLE": {**MARKET, "post_only": True},
    "TIME_IN_FORCE_IMPOSSIBLE": {**MARKET, "time_in_force": "IOC"},
    "QUOTE_AMOUNT_SUPERFLUOUS": {**BUY, "quote_amount": 100},
    "EXPIRES_AT_MISSING": {**BUY, "time_in_force": "GTD"},
    "TRIGGER_BY_SUPERFLUOUS": {**BUY, "trigger_by": "mid"},
    "QUANTITY_ZERO": {**BUY, "amount": 0},
    "PRICE_ZERO": {**BUY, "price": 0},
}
"""What REST refuses before a workflow starts."""

ONE_ORDER: dict[str, Body] = {
    "EXPIRES_IN_PAST": {**BUY, "expires_at": "2020-01-01T00:00:00Z"},
    "SYMBOL_UNKNOWN": {**BUY, "symbol": "NONE/USDT"},
    "SYMBOL_NOT_TRADING": {**BUY, "symbol": "LTC/USDT", "amount": 1, "price": 90},
    "QUANTITY_BELOW_STEP": {**BUY, "amount": 0.000001},
    "QUANTITY_BELOW_MINIMUM": {**DOGE, "amount": 9},
    "QUANTITY_ABOVE_MAXIMUM": {**BUY, "amount": 100000, "price": 1},
    "PRICE_OFF_TICK": {**BUY, "price": 50000.001},
    "PRICE_BELOW_MINIMUM": {**DOGE, "price": 0.005},
    "PRICE_ABOVE_MAXIMUM": {**BUY, "price": 900000000},
    "NOTIONAL_BELOW_MINIMUM": {**BUY, "price": 1},
    "NOTIONAL_ABOVE_MAXIMUM": {**BUY, "amount": 8000, "price": 50000},
    "BALANCE_INSUFFICIENT": {**BUY, "amount": 8},
    "ORDER_TYPE_NOT_SUPPORTED": {**DOGE, "post_only": True},
    "TRIGGER_PRICE_PASSED": {**MARKET, "order_type": "stop", "stop_price": 50000, "trigger_by": "mid"},
    "SYMBOL_NOT_ALLOWED": {**BUY, "strategy": "allow"},
    "SYMBOL_DENIED": {**BUY, "strategy": "deny"},
    "OUTSIDE_TRADING_HOURS": {**BUY, "strategy": "hours"},
    "ORDER_QUANTITY_ABOVE_LIMIT": {**BUY, "strategy": "quantity"},
    "ORDER_NOTIONAL_ABOVE_LIMIT": {**BUY, "strategy": "notional"},
    "PRICE_OUTSIDE_BAND": {**BUY, "strategy": "band", "price": 20000},
    "SLIPPAGE_ABOVE_LIMIT": {**MARKET, "strategy": "slip", "amount": 1.5},
    "BOOK_SHARE_ABOVE_LIMIT": {**MARKET, "strategy": "book", "amount": 0.5},
    "POSITION_NOTIONAL_ABOVE_LIMIT": {**BUY, "strategy": "worth"},
    "GROSS_EXPOSURE_ABOVE_LIMIT": {**BUY, "strategy": "gross"},
    "NET_EXPOSURE_ABOVE_LIMIT": {**BUY, "strategy": "net"},
    "CONCENTRATION_ABOVE_LIMIT": {**BUY, "strategy": "share"},
    "TURNOVER_ABOVE_LIMIT": {**BUY, "strategy": "turnover"},
    "DAILY_LOSS_ABOVE_LIMIT": {**BUY, "strategy": "loss"},
    "DRAWDOWN_ABOVE_LIMIT": {**BUY, "strategy": "drawdown"},
    "RISK_AGENT_DENIED": {**BUY, "strategy": "agent-denies"},
}
"""What one order is enough for."""

AFTER_ANOTHER: dict[str, tuple[Sequence[Body], Body]] = {
    "DUPLICATE_ORDER": ([{**BUY, "strategy": "twin"}], {**BUY, "strategy": "twin"}),
    "SELF_TRADE": ([{**BUY, "side": "sell", "price": 70000}], {**BUY, "price": 70000, "strategy": "self"}),
    "POSITION_QUANTITY_ABOVE_LIMIT": ([{**BUY, "strategy": "position"}], {**MARKET, "strategy": "position"}),
    "OPEN_ORDERS_ABOVE_LIMIT": ([{**BUY, "strategy": "open"}], {**BUY, "strategy": "open"}),
    "ORDER_RATE_ABOVE_LIMIT": ([{**BUY, "strategy": "rate"}], {**BUY, "strategy": "rate"}),
}
"""What needs orders that are admitted before."""

AFTER_A_STOP: dict[str, Body] = {
    "STOP_OUTS_ABOVE_LIMIT": {**ETHER, "strategy": "stops"},
    "COOLDOWN_AFTER_STOP": {**ETHER, "strategy": "cool"},
    "PROFIT_BELOW_MINIMUM": {**ETHER, "strategy": "profit"},
}
"""What needs a stop that has closed a position at a loss."""

NOT_KNOWN: dict[str, Body] = {
    "MARKET_PRICE_UNAVAILABLE": {**BUY, "symbol": "SOL/USDT", "amount": 1, "price": 150, "strategy": "band"},
    "MARKET_DATA_STALE": {**BUY, "symbol": "BTC/USD", "price": 61000, "strategy": "band"},
    "BOOK_UNAVAILABLE": {**BUY, "symbol": "ETH/BTC", "amount": 0.1, "price": 0.05, "strategy": "slip"},
    "VALUE_UNKNOWN": {**BUY, "strategy": "valued"},
    "VENUE_UNAVAILABLE": {**BUY, "exchange": "gone"},
    "ACCOUNT_NOT_RECONCILED": {**BUY, "exchange": "locked"},
    "RISK_AGENT_UNAVAILABLE": {**BUY, "strategy": "agent-rambles"},
}
"""What needs a venue that says too little."""

BY_HAND: Final = frozenset({"KILL_SWITCH_ON", "APPROVAL_REQUIRED", "RISK_AGENT_ASKS_PERSON"})
"""What has a test of its own."""


async def agent_says(request: web.Request, body: bytes) -> web.StreamResponse:
    """A risk agent that answers by the order's strategy."""
    says = {"agent-denies": "deny", "agent-holds": "hold"}.get(json.loads(body)["ticket"]["strategy"], "er")
    return await saying(says, reason="a test of denials")(request, body)


class House:
    """The stack as its callers see it, and the controls of its venue."""

    def __init__(self, rest: httpx2.AsyncClient, venue: httpx2.AsyncClient) -> None:
        self.rest, self._venue = rest, venue
        self.waiting: dict[str, asyncio.Task[httpx2.Response]] = {}

    async def place(self, body: Body) -> httpx2.Response:
        """Place an order, and wait for its answer."""
        return await self.rest.post("/orders", json=body, params={"timeout_s": 60})

    async def placed(self, body: Body) -> dict[str, Any]:
        """Place an order that must be admitted."""
        response = await self.place(body)
        assert response.status_code == 201, response.text
        return dict(response.json())

    async def until_closed(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Wait until an order has ended."""
        deadline = time.monotonic() + 30
        while True:
            shown = (await self.rest.get(f"/orders/{order['exchange']}/{order['id']}")).json()
            if shown["closed_at"] is not None:
                return dict(shown)
            assert time.monotonic() < deadline, shown
            await asyncio.sleep(0.1)

    async def control(self, path: str, wanted: Mapping[str, Any]) -> None:
        """Tell the venue what happens there."""
        (await self._venue.post(path, json=wanted)).raise_for_status()

    async def denied_in_the_end(self, body: Body) -> httpx2.Response:
        """Place an order, and wait until it is denied for lack of an answer; then it is refused as any other is."""
        headers = {"Idempotency-Key": json.dumps(body, separators=(",", ":"))[:250]}
        deadline = time.monotonic() + 90
        while True:
            response = await self.rest.post("/orders", json=body, params={"timeout_s": 60}, headers=headers)
            if response.status_code != 202:
                return response
            assert time.monotonic() < deadline, response.text


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def agent() -> AsyncIterator[AgentServer]:
    async with AgentServer().serving() as server:
        server.reply = agent_says
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory, agent: AgentServer) -> AsyncIterator[House]:
    folder: Path = tmp_path_factory.mktemp("denials")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    port = free_port()
    venue = f"http://127.0.0.1:{port}"
    accounts = [
        {"name": "binanceus", "mode": "paper", "credentials": "none", "venue": venue},
        {"name": "gone", "mode": "paper", "credentials": "none", "venue": "http://127.0.0.1:9"},
        {"name": "locked", "mode": "live", "credentials": "env", "venue": venue},
    ]
    config = folder / "volex.toml"
    written = "".join(ACCOUNT.format(**account) for account in accounts)
    config.write_text(CONFIG.format(accounts=written, agent=agent.url))
    keys = {
        "RISK__AGENT__SECRET": SECRET,
        "API_KEY": "test-key",
        "LOCKED_API_KEY": "not-a-key",
        "LOCKED_SECRET_KEY": "not-a-secret",
    }
    options = StackOptions(
        data_dir=folder / "data",
        config=config,
        ports={"simulator": port},
        environ={"PATH": os.environ["PATH"], **keys},
    )
    async with (
        EmbeddedStack(options) as stack,
        httpx2.AsyncClient(base_url=stack.ready["api"], headers={"X-API-Key": "test-key"}, timeout=70) as rest,
        httpx2.AsyncClient(base_url=stack.ready["simulator_control"], timeout=10) as control,
    ):
        house = House(rest, control)
        await _make_the_venue_say_too_little(house)
        house.waiting = {code: asyncio.create_task(house.denied_in_the_end(body)) for code, body in NOT_KNOWN.items()}
        yield house
        for task in house.waiting.values():
            task.cancel()


async def _make_the_venue_say_too_little(house: House) -> None:
    await house.control("/faults", {"kind": "http_status", "status": 503, "path": "/ticker/24hr", "symbol": NO_TICKER})
    await house.control("/faults", {"kind": "http_status", "status": 503, "path": "/depth", "symbol": NO_BOOK})
    await house.control(f"/market/{SILENT}", {"silent_s": 60})
    await house.control(f"/market/{STOPPED}", {"price": 3125, "frozen": True})
    held = await house.placed(
        {**BUY, "symbol": "SOL/USDT", "amount": 1, "price": 200, "strategy": "valued", "time_in_force": "IOC"}
    )
    assert (await house.until_closed(held))["filled"] == 1


def has_numbers(code: str, told: Mapping[str, Any]) -> bool:
    """Tell whether a problem, or the reason of an order, comes with the code and its numbers."""
    return told["code"] == code and set(DENIALS[code].example) <= set(told["numbers"])


def test_every_code_has_a_case_and_no_other() -> None:
    cases = [*REFUSED_AT_ONCE, *ONE_ORDER, *AFTER_ANOTHER, *AFTER_A_STOP, *NOT_KNOWN, *BY_HAND]
    assert sorted(cases) == sorted(DENIALS)
    assert set(NOT_KNOWN) == {code for code, denial in DENIALS.items() if denial.unavailable}


@pytest.mark.parametrize("code", REFUSED_AT_ONCE)
async def test_refused_at_once(house: House, code: str) -> None:
    response = await house.place(REFUSED_AT_ONCE[code])
    assert (response.status_code, response.json()["code"]) == (422, "REQUEST_INVALID"), response.text
    (told,) = response.json()["errors"]
    assert has_numbers(code, told), response.text


@pytest.mark.parametrize("code", ONE_ORDER)
async def test_one_order_is_enough(house: House, code: str) -> None:
    response = await house.place(ONE_ORDER[code])
    assert response.status_code == 422, response.text
    assert has_numbers(code, response.json()), response.text
    assert DENIALS[code].what_to_do in response.json()["what_to_do"] or "order" not in response.json()


NOT_THE_GATES: Final = frozenset({"SYMBOL_UNKNOWN", "RISK_AGENT_DENIED", "RISK_AGENT_UNAVAILABLE"})
"""What is refused before the gate, or by an agent that is asked about orders alone."""


@pytest.mark.parametrize("code", sorted((ONE_ORDER.keys() | NOT_KNOWN.keys()) - NOT_THE_GATES))
async def test_dry_question_is_answered_at_once_as_the_order_is_in_the_end(house: House, code: str) -> None:
    body = {**ONE_ORDER, **NOT_KNOWN}[code]
    response = await house.rest.post("/orders/validate", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["answer"] == ("UNAVAILABLE" if DENIALS[code].unavailable else "DENY"), response.text
    assert has_numbers(code, response.json()["reason"]), response.text


@pytest.mark.parametrize("code", AFTER_ANOTHER)
async def test_after_another_order(house: House, code: str) -> None:
    before, body = AFTER_ANOTHER[code]
    for earlier in before:
        await house.placed(earlier)
    response = await house.place(body)
    assert response.status_code == 422, response.text
    assert has_numbers(code, response.json()), response.text


async def test_after_a_stop_at_a_loss(house: House) -> None:
    stops = []
    for body in AFTER_A_STOP.values():
        assert (await house.until_closed(await house.placed(body)))["filled"] == body["amount"]
        stops.append(await house.placed({**body, "side": "sell", "order_type": "stop", "stop_price": 3000}))
    await house.control(f"/market/{STOPPED}", {"price": 2900})
    for stop in stops:
        assert (await house.until_closed(stop))["filled"] == stop["amount"]
    for code, body in AFTER_A_STOP.items():
        response = await house.place(body)
        assert response.status_code == 422, response.text
        assert has_numbers(code, response.json()), response.text


async def test_kill_switch(house: House) -> None:
    pulled = await house.rest.post("/risk/kill", json={"scope": "strategy:killed", "reason": "a test of denials"})
    assert pulled.status_code == 200, pulled.text
    response = await house.place({**BUY, "strategy": "killed"})
    assert response.status_code == 422, response.text
    assert has_numbers("KILL_SWITCH_ON", response.json()), response.text


async def test_held_for_approval(house: House) -> None:
    response = await house.place({**BUY, "strategy": "big"})
    assert (response.status_code, response.json()["status"]) == (202, "held"), response.text
    assert has_numbers("APPROVAL_REQUIRED", response.json()["reason"]), response.text


async def test_held_by_the_risk_agent(house: House) -> None:
    response = await house.place({**BUY, "strategy": "agent-holds"})
    assert (response.status_code, response.json()["status"]) == (202, "held"), response.text
    assert has_numbers("RISK_AGENT_ASKS_PERSON", response.json()["reason"]), response.text


@pytest.mark.parametrize("code", NOT_KNOWN)
async def test_denied_for_lack_of_an_answer(house: House, code: str) -> None:
    response = await house.waiting[code]
    assert response.status_code == 503, response.text
    assert "Retry-After" in response.headers
    assert has_numbers(code, response.json()), response.text
