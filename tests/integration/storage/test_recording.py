"""Reports become facts once: fills, reservation, balances and position move together with the order."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from domain.events import Fill
from domain.instrument import deny
from domain.lifecycle import OrderEventType, OrderStatus
from domain.numbers import plain
from domain.order import Order, OrderSide, OrderType
from domain.ports import Notice
from domain.reports import Balance, OrderReport, SubmitOutcome, SubmitVerdict, VenueOrderStatus
from storage.order_reader import SqlOrderReader
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_fill, make_report, make_request
from tests.integration.storage.conftest import ACCOUNT, Life, Rows


async def told(store: SqlOrderStore, order: Order, trades: Sequence[Fill] = (), **report: Any) -> Notice:
    """Record a report that sums up the trades given."""
    cum_qty = sum((trade.last_qty for trade in trades), Decimal(0))
    return await store.record_report(
        ACCOUNT, order.order_id, make_report(**{"cum_qty": cum_qty, **report}), trades=trades, now=NOW
    )


def part(trade_id: str, quantity: str = "0.02", price: str = "100", **changes: Any) -> Fill:
    """A trade without commission."""
    return make_fill(
        trade_id,
        last_qty=Decimal(quantity),
        last_px=Decimal(price),
        **{"commission": None, "commission_asset": None, **changes},
    )


async def figures(reader: SqlOrderReader) -> dict[str, tuple[str, str]]:
    """Total and reserved by asset."""
    return {sheet.asset: (plain(sheet.total), plain(sheet.reserved)) for sheet in await reader.balances(ACCOUNT)}


async def test_fills_are_counted_once_however_often_and_in_whatever_order_they_are_told(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    trades = [part(str(number), "0.01", ts_event=NOW + timedelta(seconds=number)) for number in range(10)]
    shuffled = random.Random(7)
    for _ in range(30):
        page = shuffled.choices(trades, k=6)
        await store.record_report(ACCOUNT, order.order_id, make_report(cum_qty=None), trades=page, now=NOW)
    final = await store.record_report(
        ACCOUNT,
        order.order_id,
        make_report(status=VenueOrderStatus.CLOSED, cum_qty=Decimal("0.1")),
        trades=[*trades, *trades],
        now=NOW,
    )
    assert final.settled
    assert (final.order.status, final.order.cum_qty) == (OrderStatus.FILLED, Decimal("0.1"))
    assert [fill.trade_id for fill in await reader.fills(ACCOUNT, order.order_id)] == [str(n) for n in range(10)]
    assert await figures(reader) == {"BTC": ("0.1", "0"), "USDT": ("990", "0")}
    assert [row.amount for row in await rows("SELECT amount FROM exposures WHERE scope LIKE '%/account:%'")] == [
        Decimal("0.1")
    ]


async def test_same_report_from_many_sides_at_once_is_recorded_once(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    notices = await asyncio.gather(*(told(store, order, [part("1")]) for _ in range(10)))
    assert {notice.order.seq for notice in notices} == {order.seq + 1}
    assert await figures(reader) == {"BTC": ("0.02", "0"), "USDT": ("998", "8")}


async def test_acceptance_with_its_fills_is_one_transaction(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    attempt = await life.sent(make_request(order_type=OrderType.MARKET, price=None))
    trade = make_fill("1", last_px=Decimal(101), ts_event=NOW)
    report = make_report(status=VenueOrderStatus.CLOSED, cum_qty=Decimal("0.1"), trades=(trade,))
    outcome = SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=report)
    order = await store.record_outcome(attempt, outcome, now=NOW)
    assert (order.status, order.avg_px) == (OrderStatus.FILLED, Decimal(101))
    assert await reader.fills(ACCOUNT, order.order_id) == [trade]
    assert await figures(reader) == {"BTC": ("0.0999", "0"), "USDT": ("989.9", "0")}


async def test_partial_fill_takes_its_part_out_of_the_reservation(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await told(store, order, [part("1", price="90")])
    assert await figures(reader) == {"BTC": ("0.02", "0"), "USDT": ("998.2", "8")}


async def test_cancel_gives_back_exactly_what_is_left_and_a_late_trade_still_counts(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await store.request_cancel(ACCOUNT, order.order_id, reason=deny("CANCEL_REQUESTED", "asked"), now=NOW)
    canceled = await told(store, order, [part("1")], status=VenueOrderStatus.CANCELED)
    assert canceled.order.status is OrderStatus.CANCELED
    assert await figures(reader) == {"BTC": ("0.02", "0"), "USDT": ("998", "0")}
    await store.finalize(ACCOUNT, order.order_id, now=NOW)
    late = await told(store, order, [part("1"), part("2")], status=VenueOrderStatus.CANCELED)
    assert (late.order.status, late.order.cum_qty) == (OrderStatus.CANCELED, Decimal("0.04"))
    assert await figures(reader) == {"BTC": ("0.04", "0"), "USDT": ("996", "0")}


async def test_order_does_not_end_before_all_its_trades_are_here(life: Life, store: SqlOrderStore) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    early = await told(store, order, [part("1")], status=VenueOrderStatus.CANCELED, cum_qty=Decimal("0.04"))
    assert not early.settled
    assert early.order.status is OrderStatus.PARTIALLY_FILLED
    whole = await told(store, order, [part("2"), part("1")], status=VenueOrderStatus.CANCELED)
    assert whole.settled
    assert whole.order.status is OrderStatus.CANCELED


async def test_trade_beyond_the_quantity_is_recorded_in_full_and_opens_one_case(
    life: Life, store: SqlOrderStore, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    trades = [part("1", "0.1"), part("2", "0.05")]
    for _ in range(2):
        notice = await told(store, order, trades, status=VenueOrderStatus.CLOSED)
    assert (notice.order.cum_qty, notice.order.needs_attention) == (Decimal("0.15"), True)
    assert (await store.order(ACCOUNT, order.order_id)) == notice.order
    assert [row.reason["numbers"] for row in await rows("SELECT reason FROM cases")] == [
        {"quantity": "0.1", "cum_qty": "0.15"}
    ]


async def test_fill_that_the_venues_word_holds_already_moves_no_balance(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await life.fund(asked_at=NOW + timedelta(seconds=2), USDT="998", BTC="0.02")
    await told(store, order, [part("1", ts_event=NOW + timedelta(seconds=1))])
    assert await figures(reader) == {"BTC": ("0.02", "0"), "USDT": ("998", "8")}


async def test_fill_while_the_venues_word_was_awaited_takes_what_it_takes_and_gives_nothing(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    """The word came late and holds the fill, or it does not: nobody may sell what was bought a second time."""
    await life.fund(USDT="1000")
    order = await life.resting()
    await life.fund(asked_at=NOW + timedelta(seconds=2), told_at=NOW + timedelta(seconds=9), USDT="998", BTC="0.02")
    await told(store, order, [part("1", ts_event=NOW + timedelta(seconds=5))])
    assert await figures(reader) == {"BTC": ("0.02", "0"), "USDT": ("996", "8")}
    await told(store, order, [part("2", ts_event=NOW + timedelta(seconds=11))])
    assert await figures(reader) == {"BTC": ("0.04", "0"), "USDT": ("994", "6")}


async def test_word_on_balances_asked_for_before_a_fill_does_not_undo_it(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await told(store, order, [part("1", ts_event=NOW + timedelta(seconds=1))])
    await life.fund(asked_at=NOW, USDT="1000")
    assert await figures(reader) == {"BTC": ("0.02", "0"), "USDT": ("998", "8")}
    await life.fund(asked_at=NOW + timedelta(seconds=3), USDT="997", BTC="0.02")
    assert await figures(reader) == {"BTC": ("0.02", "0"), "USDT": ("997", "8")}


async def test_fill_worth_more_than_the_balance_known_is_recorded_all_the_same(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="10")
    order = await life.resting()
    notice = await told(store, order, [part("1", "0.1", "150")], status=VenueOrderStatus.CLOSED)
    assert notice.order.status is OrderStatus.FILLED
    assert await figures(reader) == {"BTC": ("0.1", "0"), "USDT": ("0", "0")}


async def test_spending_takes_from_used_first(life: Life, store: SqlOrderStore, reader: SqlOrderReader) -> None:
    await life.fund(BTC="1")
    order = await life.resting(side=OrderSide.SELL)
    resting = Balance(asset="BTC", free=Decimal("0.9"), used=Decimal("0.1"), total=Decimal(1))
    await store.record_balances(ACCOUNT, [resting], asked_at=NOW)
    await told(store, order, [part("1", "0.1", ts_event=NOW + timedelta(seconds=2))], status=VenueOrderStatus.CLOSED)
    btc, usdt = await reader.balances(ACCOUNT)
    assert [plain(figure) for figure in (btc.free, btc.used, btc.total)] == ["0.9", "0", "0.9"]
    assert [plain(figure) for figure in (usdt.free, usdt.total)] == ["10", "10"]


async def test_commission_in_a_third_asset_lessens_that_asset(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000", BNB="1")
    order = await life.resting()
    await told(store, order, [part("1", commission=Decimal("0.001"), commission_asset="BNB")])
    assert (await figures(reader))["BNB"] == ("0.999", "0")


async def test_orders_of_both_sides_filled_at_once_never_block_each_other(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000", BTC="10")
    orders = [
        await life.resting(
            f"key {number}", venue_order_id=f"v{number}", side=OrderSide.BUY if number % 2 else OrderSide.SELL
        )
        for number in range(30)
    ]
    await asyncio.gather(
        *(
            told(
                store,
                order,
                [part(f"t{order.order_id}", "0.1", venue_order_id=order.venue_order_id)],
                venue_order_id=order.venue_order_id,
                status=VenueOrderStatus.CLOSED,
            )
            for order in orders
        )
    )
    assert await figures(reader) == {"BTC": ("10", "0"), "USDT": ("1000", "0")}
    [position] = await reader.positions(ACCOUNT)
    assert position.amount == 0


async def test_cancel_kept_from_before_the_answer_is_carried_out_once_the_order_rests(
    life: Life, store: SqlOrderStore
) -> None:
    await life.fund(USDT="1000")
    attempt = await life.sent(make_request())
    reason = deny("CANCEL_REQUESTED", "asked")
    kept = await store.request_cancel(ACCOUNT, attempt.order_id, reason=reason, now=NOW)
    assert (kept.status, kept.cancel_requested) == (OrderStatus.SUBMITTED, True)
    assert await store.request_cancel(ACCOUNT, attempt.order_id, reason=reason, now=NOW) == kept
    outcome = SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=make_report())
    assert (await store.record_outcome(attempt, outcome, now=NOW)).status is OrderStatus.ACCEPTED
    pending = await store.request_cancel(ACCOUNT, attempt.order_id, reason=reason, now=NOW)
    assert pending.status is OrderStatus.PENDING_CANCEL
    assert await store.request_cancel(ACCOUNT, attempt.order_id, reason=reason, now=NOW) == pending


async def test_end_unsent_gives_the_reservation_back_and_leaves_an_order_at_the_venue_alone(
    life: Life, store: SqlOrderStore, reader: SqlOrderReader
) -> None:
    await life.fund(USDT="1000")
    request = make_request("unsent")
    await life.admit(request)
    reason = deny("CANCEL_REQUESTED", "asked")
    ended = await store.end_unsent(
        ACCOUNT, request.order_id, event_type=OrderEventType.CANCELED, reason=reason, now=NOW
    )
    assert (ended.status, ended.reason) == (OrderStatus.CANCELED, reason)
    assert await figures(reader) == {"USDT": ("1000", "0")}
    resting = await life.resting("resting")
    assert resting == await store.end_unsent(
        ACCOUNT, resting.order_id, event_type=OrderEventType.CANCELED, reason=reason, now=NOW
    )


async def test_finalize_is_written_once(life: Life, store: SqlOrderStore, reader: SqlOrderReader) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await told(store, order, [part("1", "0.1")], status=VenueOrderStatus.CLOSED)
    finals = await asyncio.gather(*(store.finalize(ACCOUNT, order.order_id, now=NOW) for _ in range(5)))
    assert all(final == finals[0] and final.finalized for final in finals)
    events = [entry.event.event_type for entry in await reader.events(ACCOUNT, order.order_id)]
    assert events == [
        OrderEventType.ADMITTED,
        OrderEventType.SUBMITTED,
        OrderEventType.ACCEPTED,
        OrderEventType.FILLED,
        OrderEventType.FINALIZED,
    ]


async def test_facts_from_a_report_carry_the_venues_words(life: Life, store: SqlOrderStore, rows: Rows) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await told(store, order, [part("1")], status=VenueOrderStatus.CANCELED)
    found = await rows("SELECT event_type, evidence->>'status' AS status FROM order_events ORDER BY seq")
    assert [(row.event_type, row.status) for row in found] == [
        ("ADMITTED", None),
        ("SUBMITTED", None),
        ("ACCEPTED", "open"),
        ("PARTIALLY_FILLED", None),
        ("CANCELED", "canceled"),
    ]


async def test_report_of_an_order_that_no_attempt_accounts_for_is_a_case_and_changes_nothing(
    life: Life, store: SqlOrderStore, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    stranger: OrderReport = make_report(venue_order_id="99", status=VenueOrderStatus.CANCELED)
    notice = await store.record_report(ACCOUNT, order.order_id, stranger, trades=(), now=NOW)
    assert (notice.order.status, notice.order.seq, notice.settled) == (OrderStatus.ACCEPTED, order.seq, False)
    assert [row.code for row in await rows("SELECT code FROM cases")] == ["UNEXPECTED_AT_VENUE"]


async def test_purchase_of_a_new_asset_that_the_venues_word_holds_already_is_expected_once(
    life: Life, store: SqlOrderStore, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    attempt = await life.sent(make_request())
    await life.fund(asked_at=NOW + timedelta(milliseconds=500), USDT="990", BTC="0.1")
    trade = make_fill(commission=None, commission_asset=None)
    over = make_report(client_order_id=attempt.client_order_id, cum_qty=Decimal("0.1"), status=VenueOrderStatus.CLOSED)
    await store.record_report(ACCOUNT, attempt.order_id, over, trades=[trade], now=NOW)
    [row] = await rows("SELECT total, expected FROM balances WHERE asset = 'BTC'")
    assert (row.total, row.expected) == (Decimal("0.1"), Decimal("0.1"))
