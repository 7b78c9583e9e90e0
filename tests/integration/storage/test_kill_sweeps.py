"""What the ledger says that the switches cancel and close; the dead-man switches, by the ledger's own time."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import DeadmanNotArmed
from domain.instrument import deny
from domain.kill import ArmDeadman, Engagement, KillEventKind
from domain.lifecycle import OrderStatus
from domain.limits import FIRM
from domain.order import Order, OrderSide, TradingMode
from domain.reports import SubmitOutcome, SubmitVerdict
from domain.trips import LOSS_LIMIT, TripTerms
from storage.kill_sweeps import SqlSweepStore, SqlSwitches, loss_trips
from storage.kill_switch import trip
from tests.factories import NOW, make_request
from tests.integration.storage.conftest import ACCOUNT, Life
from tests.integration.storage.test_losses import admit, bought, marked

OTHER = "kraken"
CANCEL = deny("CANCEL_REQUESTED", "asked")
UNKNOWN = SubmitOutcome(verdict=SubmitVerdict.UNKNOWN, reason=deny("TIMEOUT", "no answer"))


@pytest.fixture
def switches(engine: AsyncEngine) -> SqlSwitches:
    """The switches of the test's own ledger."""
    return SqlSwitches(engine)


@pytest.fixture
def sweeps(engine: AsyncEngine) -> SqlSweepStore:
    """What they ask for."""
    return SqlSweepStore(engine)


async def condemned(sweeps: SqlSweepStore, account: str = ACCOUNT) -> list[str]:
    """The ids of the orders that are to be canceled."""
    return [each.order.order_id for each in await sweeps.condemned(account)]


async def rest(life: Life, key: str = "key", venue_order_id: str = "7", **ticket: object) -> Order:
    """An order at rest."""
    await life.fund(USDT="10000")
    return await life.resting(key, venue_order_id=venue_order_id, **ticket)


async def age(engine: AsyncEngine, seconds: float) -> None:
    """Let the last heartbeat of every dead-man switch lie so far back."""
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE deadman_switches SET beat_at = clock_timestamp() - make_interval(secs => :s)"), {"s": seconds}
        )


async def test_switch_cancels_only_if_it_is_asked_to_and_only_its_scope(
    life: Life, switches: SqlSwitches, sweeps: SqlSweepStore
) -> None:
    mine = await rest(life, "mine", "1", strategy="momentum")
    await rest(life, "other", "2", strategy="carry")
    scope = "strategy:momentum"
    await switches.engage(Engagement(scope=scope, reason="drill"))
    assert (await condemned(sweeps), list(await sweeps.to_be_swept([ACCOUNT]))) == ([], [])
    await switches.engage(Engagement(scope=scope, reason="drill", by="ann", cancel_orders=True))
    assert await sweeps.to_be_swept([ACCOUNT, OTHER]) == [ACCOUNT]
    [found] = await sweeps.condemned(ACCOUNT)
    assert found.order == mine
    told = found.reason()
    assert (told.code, told.text) == ("KILL_SWITCH", "drill, says anonymous (strategy:momentum)")


async def test_order_of_two_switches_is_canceled_once(life: Life, switches: SqlSwitches, sweeps: SqlSweepStore) -> None:
    order = await rest(life)
    for scope in (FIRM, f"account:{ACCOUNT}"):
        await switches.engage(Engagement(scope=scope, reason="drill", cancel_orders=True))
    assert await condemned(sweeps) == [order.order_id]


async def test_wish_that_is_on_record_for_an_order_not_known_to_rest_is_not_asked_for_again(
    life: Life, switches: SqlSwitches, sweeps: SqlSweepStore
) -> None:
    await life.fund(USDT="10000")
    attempt = await life.sent(make_request())
    await life.store.record_outcome(attempt, UNKNOWN, now=NOW)
    await switches.engage(Engagement(scope="key:test", reason="drill", cancel_orders=True))
    assert await condemned(sweeps) == [attempt.order_id]
    await life.store.request_cancel(ACCOUNT, attempt.order_id, reason=CANCEL, now=NOW)
    assert await condemned(sweeps) == [], "its own workflow carries the wish"


async def test_order_that_waits_for_its_cancel_is_asked_for_until_it_is_gone(
    life: Life, switches: SqlSwitches, sweeps: SqlSweepStore
) -> None:
    order = await rest(life)
    await switches.engage(Engagement(scope=FIRM, reason="drill", cancel_orders=True))
    waiting = await life.store.request_cancel(ACCOUNT, order.order_id, reason=CANCEL, now=NOW)
    assert waiting.status is OrderStatus.PENDING_CANCEL
    assert await condemned(sweeps) == [order.order_id]


async def test_sweep_is_recorded_once_for_each_event_and_account(switches: SqlSwitches, sweeps: SqlSweepStore) -> None:
    await switches.engage(Engagement(scope=f"account:{ACCOUNT}", reason="drill", cancel_orders=True))
    for account in (ACCOUNT, ACCOUNT, OTHER):
        await sweeps.record_swept(account)
    told = [(event.kind, event.numbers.get("account")) for event in await switches.events(limit=9, before=None)]
    assert told == [(KillEventKind.SWEPT, ACCOUNT), (KillEventKind.ENGAGED, None)]


async def test_exempt_order_is_never_canceled_and_its_switch_is_flattened_once(
    life: Life, switches: SqlSwitches, sweeps: SqlSweepStore
) -> None:
    order = await rest(life)
    engaged = await switches.engage(Engagement(scope=FIRM, reason="drill", flatten=True))
    event_id = engaged.switch.event_id
    assert event_id is not None and engaged.switch.cancel_orders, "flattening includes canceling"
    await sweeps.exempt(ACCOUNT, event_id, symbol="BTC/USDT", order_id=order.order_id)
    assert await condemned(sweeps) == []
    [closing] = await sweeps.closings(ACCOUNT, event_id)
    assert (closing.order_id, closing.symbol, closing.order) == (order.order_id, "BTC/USDT", order)
    for _ in range(2):
        [switch] = await sweeps.to_flatten(ACCOUNT) or [engaged.switch]
        await sweeps.record_flattened(ACCOUNT, switch, left={})
    assert await sweeps.to_flatten(ACCOUNT) == []
    assert [switch.scope for switch in await sweeps.to_flatten(OTHER)] == [FIRM], "each account has its own"
    kinds = [event.kind for event in await switches.events(limit=9, before=None)]
    assert kinds == [KillEventKind.FLATTENED, KillEventKind.ENGAGED]


async def test_deadman_fires_once_when_its_time_is_over_and_cancels_until_the_next_beat(
    life: Life, switches: SqlSwitches, sweeps: SqlSweepStore, engine: AsyncEngine
) -> None:
    scope = "strategy:momentum"
    order = await rest(life, strategy="momentum")
    await switches.arm(ArmDeadman(scope=scope, timeout_s=30, by="agent"))
    await age(engine, 29)
    assert (list(await sweeps.fire_deadmen()), await condemned(sweeps)) == ([], [])
    await age(engine, 31)
    fired = await asyncio.gather(sweeps.fire_deadmen(), sweeps.fire_deadmen())
    assert sorted(len(each) for each in fired) == [0, 1], "once, however many watch"
    assert await condemned(sweeps) == [order.order_id]
    [found] = await sweeps.condemned(ACCOUNT)
    assert found.why == "no heartbeat for 30 s"
    assert await switches.switches() == [], "admission goes on unless asked"
    assert (await switches.beat(scope)).fired_at is None
    assert (await condemned(sweeps), list(await sweeps.fire_deadmen())) == ([], [])
    kinds = [event.kind for event in await switches.events(limit=9, before=None)]
    assert kinds == [KillEventKind.DEADMAN_FIRED, KillEventKind.DEADMAN_ARMED]


async def test_deadman_that_stops_admission_pulls_the_kill_switch(
    switches: SqlSwitches, sweeps: SqlSweepStore, engine: AsyncEngine
) -> None:
    await switches.arm(ArmDeadman(scope="key:agent", timeout_s=5, stop_admission=True, by="agent"))
    await age(engine, 6)
    assert len(await sweeps.fire_deadmen()) == 1
    [switch] = await switches.switches()
    assert (switch.scope, switch.code, switch.cancel_orders) == ("key:agent", "DEADMAN", True)
    await switches.beat("key:agent")
    assert len(await switches.switches()) == 1, "a person lifts it"


async def test_deadman_is_changed_disarmed_and_not_there(switches: SqlSwitches) -> None:
    await switches.arm(ArmDeadman(scope=FIRM, timeout_s=5, by="agent"))
    changed = await switches.arm(ArmDeadman(scope=FIRM, timeout_s=60, by="agent"))
    assert [deadman.timeout_s for deadman in await switches.deadmen()] == [60]
    assert (await switches.disarm(FIRM, by="ann")).scope == changed.scope
    with pytest.raises(DeadmanNotArmed):
        await switches.beat(FIRM)
    with pytest.raises(DeadmanNotArmed):
        await switches.disarm(FIRM, by="ann")


async def test_loss_at_its_limit_pulls_the_switch_where_that_is_asked_for(
    life: Life, engine: AsyncEngine, switches: SqlSwitches
) -> None:
    await life.fund(USDT="1000", BTC="1")
    await bought(life)
    await life.limit(max_daily_loss="2", max_order_notional="1000")
    await marked(engine, "79")
    async with engine.connect() as connection:
        now = (await connection.exec_driver_sql("SELECT clock_timestamp()")).scalar_one()
    mode = TradingMode.SANDBOX
    assert await loss_trips(engine, ACCOUNT, mode, TripTerms(), now=now) == [None]
    [tripped] = await loss_trips(engine, ACCOUNT, mode, TripTerms(loss_limit=True), now=now)
    assert tripped is not None and tripped.reason.numbers == {"loss": "2.1", "limit": "2", "currency": "USDT"}
    assert await trip(engine, tripped) is not None
    assert [(switch.scope, switch.code) for switch in await switches.switches()] == [(f"account:{ACCOUNT}", LOSS_LIMIT)]
    denied = await admit(life, "close", side=OrderSide.SELL)
    assert denied.reason is not None and denied.reason.code == "KILL_SWITCH_ON", "it stops what reduces too"
