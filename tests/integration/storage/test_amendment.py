"""An amended order: reserved for the worse of old and new, replaced on proof, and deaf to its old attempt."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import NotAmendable
from domain.instrument import deny
from domain.lifecycle import OrderStatus
from domain.limits import FIRM
from domain.numbers import plain
from domain.order import Order, OrderSide, OrderType
from domain.reports import SubmitOutcome, SubmitVerdict, VenueOrderStatus
from storage import kill_switch
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_fill, make_instrument, make_report, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, Life, Rows


async def amend(store: SqlOrderStore, order: Order, quantity: str, price: str, **limits: Any) -> Order:
    """Ask for new figures."""
    if limits:
        await Life(store).limit(**limits)
    return await store.request_amend(
        ACCOUNT,
        order.order_id,
        quantity=Decimal(quantity),
        price=Decimal(price),
        terms=make_terms(),
        requested_by="test",
        now=NOW,
    )


async def reserved(rows: Rows) -> tuple[str, str]:
    """What the balance and the order's own row say; they are always equal."""
    [row] = await rows(
        "SELECT b.reserved, r.amount FROM balances b JOIN reservations r ON r.asset = b.asset AND r.account = b.account"
    )
    return plain(row.reserved), plain(row.amount)


async def replaced(life: Life, rows: Rows) -> Order:
    """An order of 0.1 at 100 that was amended to 0.2 at 110 after 0.02 were filled, its old attempt gone."""
    order = await life.resting()
    trade = make_fill("1", last_qty=Decimal("0.02"), commission=None, commission_asset=None)
    partly = make_report(cum_qty=Decimal("0.02"))
    await life.store.record_report(ACCOUNT, order.order_id, partly, trades=[trade], now=NOW)
    await amend(life.store, order, "0.2", "110")
    assert await reserved(rows) == ("19.8", "19.8")
    gone = make_report(status=VenueOrderStatus.CANCELED, cum_qty=Decimal("0.02"))
    notice = await life.store.record_report(ACCOUNT, order.order_id, gone, trades=(), now=NOW)
    return notice.order


async def test_amendment_reserves_for_the_worse_of_old_and_new(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    pending = await amend(life.store, order, "0.3", "90")
    assert (pending.status, pending.amend_quantity) == (OrderStatus.PENDING_CANCEL, Decimal("0.3"))
    assert await reserved(rows) == ("27", "27")
    assert await amend(life.store, order, "0.3", "90") == pending


async def test_commission_in_quote_units_is_reserved_with_the_price_all_along(life: Life, rows: Rows) -> None:
    await life.fund(USDT="10.1")
    request = make_request()
    taking = make_instrument(taker_rate=Decimal("0.01"), fee_in_quote=True)
    told = make_validated(request, instrument=taking)
    await life.store.admit(request, told, terms=make_terms(ACCOUNT), now=NOW)
    assert await reserved(rows) == ("10.1", "10.1")
    order = await life.resting()
    fee = {"commission": Decimal("0.02"), "commission_asset": "USDT"}
    trade = make_fill("1", last_qty=Decimal("0.02"), last_px=Decimal(100), **fee)
    partly = make_report(cum_qty=Decimal("0.02"))
    await life.store.record_report(ACCOUNT, order.order_id, partly, trades=[trade], now=NOW)
    assert await reserved(rows) == ("8.08", "8.08")
    with pytest.raises(NotAmendable, match="not enough USDT"):
        await amend(life.store, order, "0.1", "101")
    await amend(life.store, order, "0.1", "99")
    assert await reserved(rows) == ("8.08", "8.08")


async def test_smaller_amendment_keeps_the_old_reservation_until_the_old_attempt_is_gone(
    life: Life, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await amend(life.store, order, "0.05", "100")
    assert await reserved(rows) == ("10", "10")
    gone = make_report(status=VenueOrderStatus.CANCELED)
    await life.store.record_report(ACCOUNT, order.order_id, gone, trades=(), now=NOW)
    assert await reserved(rows) == ("5", "5")


async def test_replaced_order_sends_what_is_left_of_the_new_total(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    order = await replaced(life, rows)
    assert (order.status, order.quantity, order.price) == (OrderStatus.INITIALIZED, Decimal("0.2"), Decimal(110))
    attempt = await life.store.open_attempt(ACCOUNT, order.order_id, worker="w", now=NOW)
    assert (attempt.attempt, attempt.submission.quantity) == (2, Decimal("0.18"))
    assert attempt.submission.price == Decimal(110)


async def test_late_report_of_the_replaced_attempt_does_not_end_the_new_one(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    order = await replaced(life, rows)
    attempt = await life.store.open_attempt(ACCOUNT, order.order_id, worker="w", now=NOW)
    stale = make_report(status=VenueOrderStatus.CANCELED, cum_qty=Decimal("0.02"))
    early = await life.store.record_report(ACCOUNT, order.order_id, stale, trades=(), now=NOW)
    assert (early.order.status, early.settled) == (OrderStatus.SUBMITTED, False)
    await life.store.pass_last_look(attempt, now=NOW)
    report = make_report(venue_order_id="8", client_order_id=attempt.client_order_id)
    accepted = await life.store.record_outcome(
        attempt, SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=report), now=NOW
    )
    late = await life.store.record_report(ACCOUNT, order.order_id, stale, trades=(), now=NOW)
    assert late.order == accepted
    trade = make_fill("2", last_qty=Decimal("0.01"), commission=None, commission_asset=None)
    with_trade = await life.store.record_report(ACCOUNT, order.order_id, stale, trades=[trade], now=NOW)
    assert (with_trade.order.status, with_trade.order.cum_qty) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.03"))
    assert with_trade.order.venue_order_id == "8"
    assert await rows("SELECT * FROM cases") == []


async def test_amendment_beyond_the_balance_is_refused_with_numbers_and_changes_nothing(life: Life, rows: Rows) -> None:
    await life.fund(USDT="12")
    order = await life.resting()
    with pytest.raises(NotAmendable) as raised:
        await amend(life.store, order, "0.2", "100")
    assert raised.value.numbers == {"asset": "USDT", "needed": "10", "available": "2"}
    assert await life.store.order(ACCOUNT, order.order_id) == order
    assert await reserved(rows) == ("10", "10")


async def test_amendment_beyond_a_limit_is_refused_with_numbers(life: Life) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    with pytest.raises(NotAmendable) as raised:
        await amend(life.store, order, "0.2", "100", max_order_notional=Decimal(15))
    assert raised.value.numbers == {"notional": "20", "max_order_notional": "15"}


async def test_amendment_to_less_than_is_filled_is_refused(life: Life) -> None:
    await life.fund(BTC="1")
    order = await life.resting(side=OrderSide.SELL)
    trade = make_fill("1", last_qty=Decimal("0.05"))
    partly = make_report(cum_qty=Decimal("0.05"))
    await life.store.record_report(ACCOUNT, order.order_id, partly, trades=[trade], now=NOW)
    with pytest.raises(NotAmendable):
        await amend(life.store, order, "0.05", "100")


async def test_only_a_resting_limit_order_is_amended(life: Life) -> None:
    await life.fund(USDT="1000")
    request = make_request("not sent")
    unsent = (await life.admit(request)).order
    market = await life.resting("market", order_type=OrderType.MARKET, price=None)
    for order in (unsent, market):
        with pytest.raises(NotAmendable):
            await amend(life.store, order, "0.2", "100")


async def test_nothing_is_amended_while_the_kill_switch_is_on(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await kill_switch.engage(engine, FIRM, reason="drill")
    with pytest.raises(NotAmendable, match="drill"):
        await amend(life.store, order, "0.2", "100")


async def test_cancel_wins_over_a_running_amendment(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await amend(life.store, order, "0.2", "100")
    await life.store.request_cancel(ACCOUNT, order.order_id, reason=deny("CANCEL_REQUESTED", "asked"), now=NOW)
    gone = make_report(status=VenueOrderStatus.CANCELED)
    notice = await life.store.record_report(ACCOUNT, order.order_id, gone, trades=(), now=NOW)
    assert notice.order.status is OrderStatus.CANCELED
    assert [row.reserved for row in await rows("SELECT reserved FROM balances")] == [0]
