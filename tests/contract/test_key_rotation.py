"""Keys that change while an account is open, at the simulated venue over HTTP: refused, read again, gone on with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from credentials.environment import EnvCredentialStore
from credentials.key_ring import KeyRing
from domain.errors import ConfigurationError, CredentialsRefused
from domain.keys import KeyChange
from domain.order import OrderSide, OrderType, TradingMode
from domain.reports import OrderRef, Submission, SubmitOutcome, SubmitVerdict
from exchanges.ccxt_exchange import CcxtExchange
from exchanges.key_permissions import look_at_keys
from exchanges.opening import open_exchange
from simulator.running import API_KEY, SECRET_KEY, Configuration, running

SYMBOL = "BTC/USDT"


@dataclass
class Desk:
    """An open account whose keys stand in an environment that a test changes."""

    exchange: CcxtExchange
    ring: KeyRing
    environ: dict[str, str]
    control: httpx2.AsyncClient
    now: list[float] = field(default_factory=lambda: [1000.0])

    def hold(self, key: str, secret: str) -> None:
        """Put other keys into the store, some time later."""
        self.environ.update({"MAIN_API_KEY": key, "MAIN_SECRET_KEY": secret})
        self.now[0] += 10

    async def venue_takes(self, **wanted: Any) -> None:
        """Tell the venue which keys to take."""
        (await self.control.post("/keys", json=wanted)).raise_for_status()

    async def submit(self, client_order_id: str = "abcdef0123456789") -> SubmitOutcome:
        """Send an order that rests."""
        submission = Submission(
            client_order_id=client_order_id,
            symbol=SYMBOL,
            side=OrderSide.BUY,
            order_type=OrderType.LIMIT,
            quantity=Decimal("0.1"),
            price=Decimal("50000"),
            signed_at=datetime.now(UTC),
        )
        return await self.exchange.submit(submission, last_look=_yes)


async def _yes() -> bool:
    return True


@asynccontextmanager
async def _desk(*, usable_s: float | None = None) -> AsyncIterator[Desk]:
    environ = {"MAIN_API_KEY": API_KEY, "MAIN_SECRET_KEY": SECRET_KEY}
    now = [1000.0]
    async with running(Configuration(tick_interval_s=0)) as venue:
        ring = KeyRing(
            EnvCredentialStore(environ), account="main", name="binanceus", usable_s=usable_s, clock=lambda: now[0]
        )
        opened = await open_exchange(
            account="main",
            exchange="binanceus",
            mode=TradingMode.LIVE,
            ccxt_config={
                "urls": {
                    "api": {
                        "public": f"{venue.url}/api/v3",
                        "private": f"{venue.url}/api/v3",
                        "sapi": f"{venue.url}/sapi/v1",
                    }
                }
            },
            credentials=await ring.open(),
            key_source=ring,
        )
        assert isinstance(opened, CcxtExchange)
        async with httpx2.AsyncClient(base_url=venue.control_url) as control:
            try:
                yield Desk(opened, ring, environ, control, now)
            finally:
                await opened.close()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with _desk() as made:
        yield made


async def test_read_with_a_revoked_key_goes_on_with_the_new_one_and_so_does_a_cancel(desk: Desk) -> None:
    placed = await desk.submit()
    assert placed.report is not None
    await desk.venue_takes(add={"key-two": "secret-two"}, revoke=[API_KEY])
    desk.hold("key-two", "secret-two")
    assert [report.client_order_id for report in await desk.exchange.fetch_open_orders()] == ["abcdef0123456789"]
    await desk.venue_takes(add={"key-three": "secret-three"}, revoke=["key-two"])
    desk.hold("key-three", "secret-three")
    ref = OrderRef(symbol=SYMBOL, client_order_id="abcdef0123456789", venue_order_id=placed.report.venue_order_id)
    assert await desk.exchange.cancel(ref) is None
    assert list(await desk.exchange.fetch_open_orders()) == []


async def test_order_whose_key_was_rotated_is_not_sent_and_the_next_attempt_is(desk: Desk) -> None:
    await desk.venue_takes(add={"key-two": "secret-two"}, revoke=[API_KEY])
    desk.hold("key-two", "secret-two")
    first = await desk.submit()
    assert (first.verdict, first.reason and first.reason.code) == (SubmitVerdict.NOT_SENT, "CREDENTIALS_REFUSED")
    assert (await desk.submit("abcdef0123456790")).verdict is SubmitVerdict.ACCEPTED
    made = (await desk.control.get("/client-orders")).json()
    assert made == {"abcdef0123456790": 1}


async def test_order_whose_key_is_refused_and_no_other_known_is_refused(desk: Desk) -> None:
    await desk.venue_takes(revoke=[API_KEY])
    desk.now[0] += 10
    assert (await desk.submit()).verdict is SubmitVerdict.REFUSED
    with pytest.raises(CredentialsRefused):
        await desk.exchange.fetch_balances()


async def test_order_whose_key_is_refused_while_the_store_is_away_is_tried_again_after_a_pause(desk: Desk) -> None:
    await desk.venue_takes(revoke=[API_KEY])
    desk.environ.clear()
    desk.now[0] += 10
    outcome = await desk.submit()
    assert (outcome.verdict, outcome.retry_after_s) == (SubmitVerdict.NOT_SENT, 5)
    text = f"{outcome}"
    assert API_KEY not in text and SECRET_KEY not in text


async def test_keys_that_lack_a_part_are_not_taken_over(desk: Desk) -> None:
    desk.environ.pop("MAIN_SECRET_KEY")
    desk.hold("key-two", "")
    await desk.venue_takes(add={"key-two": "secret-two"})
    assert await desk.exchange.fetch_balances()
    await desk.venue_takes(revoke=[API_KEY])
    with pytest.raises(CredentialsRefused):
        await desk.exchange.fetch_balances()
    desk.hold("key-two", "secret-two")
    assert await desk.exchange.fetch_balances()


async def test_keys_too_old_send_no_order_but_look_and_cancel() -> None:
    async with _desk(usable_s=60) as desk:
        placed = await desk.submit()
        assert placed.report is not None
        desk.now[0] += 61
        outcome = await desk.submit("abcdef0123456790")
        assert (outcome.verdict, outcome.reason and outcome.reason.code) == (
            SubmitVerdict.NOT_SENT,
            "CREDENTIALS_UNAVAILABLE",
        )
        ref = OrderRef(symbol=SYMBOL, client_order_id="abcdef0123456789", venue_order_id=placed.report.venue_order_id)
        assert await desk.exchange.cancel(ref) is None
        assert list(await desk.exchange.fetch_open_orders()) == []


async def test_key_that_may_withdraw_is_told_and_refused_where_keys_are_strict(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    found = await desk.exchange.check_keys()
    assert found.works
    assert (found.permissions.read, found.permissions.trade, found.permissions.withdraw) == (True, True, False)
    await look_at_keys(desk.exchange, "main", strict=True)
    await desk.venue_takes(may_withdraw=True)
    await look_at_keys(desk.exchange, "main", strict=False)
    assert "key_may_withdraw" in caplog.messages
    with pytest.raises(ConfigurationError, match="may withdraw"):
        await look_at_keys(desk.exchange, "main", strict=True)
    await desk.venue_takes(revoke=[API_KEY])
    assert (await desk.exchange.check_keys()).works is False


async def test_keys_of_another_account_or_that_do_not_work_are_not_taken_over(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await desk.submit()).verdict is SubmitVerdict.ACCEPTED
    keeping = asyncio.create_task(desk.ring.keep(3600))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while desk.ring._whose is None:
            await asyncio.sleep(0.01)
    keeping.cancel()
    desk.hold("mistyped", "mistyped")
    assert await desk.ring.renewed_since(1) is KeyChange.UNKNOWN
    await desk.venue_takes(add={"key-two": "secret-two"})
    desk.hold("key-two", "secret-two")
    desk.ring._whose = "2"  # as if the keys in use were those of somebody else than the venue's one account
    assert await desk.ring.renewed_since(1) is KeyChange.SAME
    assert "keys_of_another_account" in caplog.messages
    assert len(await desk.exchange.fetch_open_orders()) == 1
    desk.ring._whose = "1"
    assert await desk.ring.renewed_since(1) is KeyChange.NEWER
    await desk.venue_takes(revoke=[API_KEY])
    assert len(await desk.exchange.fetch_open_orders()) == 1
