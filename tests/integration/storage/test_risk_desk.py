"""The operator's view on the real ledger: a dry question, uses of limits, changes of limits, and a rehearsal."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import InvalidRequest
from domain.limit_changes import Effect
from domain.limits import Limits, LimitSet
from domain.order import TradingMode
from domain.rehearsal import Outcome, rehearse
from domain.risk import Answer
from domain.risk_desk import LimitUse, ScopeUse, Simulated
from storage.risk_reader import SqlRiskDesk
from tests.factories import NOW, make_fill, make_report, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, Life, Rows

COUNTS = """
    SELECT (SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM order_events) AS events,
        (SELECT count(*) FROM reservations) AS reservations, (SELECT count(*) FROM risk_scopes) AS scopes,
        (SELECT count(*) FROM admissions) AS admissions, (SELECT count(*) FROM exposures) AS exposures
"""
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(engine: AsyncEngine) -> SqlRiskDesk:
    """The operator's view."""
    return SqlRiskDesk(engine)


async def ask(desk: SqlRiskDesk, key: str = "asked", **ticket: object) -> Simulated:
    """Ask the gate about a ticket."""
    request = make_request(key, **ticket)
    return await desk.simulate(request, make_validated(request), terms=make_terms(ACCOUNT), now=NOW)


async def used(desk: SqlRiskDesk, limit: str, scope: str = f"account:{ACCOUNT}") -> LimitUse:
    """Return what is used of a limit."""
    return next(use for use in (await shown(desk, scope)).limits if use.limit == limit)


async def shown(desk: SqlRiskDesk, scope: str = f"account:{ACCOUNT}") -> ScopeUse:
    """Return a scope."""
    now = datetime.now(UTC)
    (found,) = await desk.scopes(TradingMode.SANDBOX, accounts=(), scope=scope, after=None, limit=9, now=now)
    return found


# A dry question.


async def test_question_is_answered_as_the_order_would_be_and_leaves_nothing_behind(
    desk: SqlRiskDesk, life: Life, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    await life.limit(max_position_quantity={"BTC/USDT": "0.15"}, max_orders_per_day=5, max_order_notional="50")
    await life.admit(make_request("first"))
    before = (await rows(COUNTS))[0]
    told = await ask(desk)
    assert told.decision is not None
    assert told.decision.answer is Answer.DENY and told.decision.reason is not None
    assert told.decision.reason.code == "POSITION_QUANTITY_ABOVE_LIMIT"
    assert told.decision.reason.numbers["working"] == "0.1"
    assert {finding.limit: finding.answer for finding in told.decision.findings} == {
        "max_order_notional": Answer.ALLOW,
        "max_position_quantity": Answer.DENY,
        "max_orders_per_day": Answer.ALLOW,
    }
    fits = await ask(desk, quantity=Decimal("0.05"))
    assert fits.decision is not None and fits.decision.answer is Answer.ALLOW
    assert fits.decision.reservation is not None
    assert (fits.decision.reservation.asset, fits.decision.reservation.amount) == ("USDT", Decimal(5))
    assert (await rows(COUNTS))[0] == before
    really = await life.admit(make_request("asked"))
    assert (really.answer, really.reason) == (told.decision.answer, told.decision.reason)


async def test_sixty_questions_at_once_use_up_nothing(desk: SqlRiskDesk, life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    await life.limit(max_open_orders=1, max_orders_per_second=1)
    told = await asyncio.gather(*(ask(desk, f"asked-{number}") for number in range(60)))
    assert {asked.decision.answer for asked in told if asked.decision is not None} == {Answer.ALLOW}
    assert (await life.admit(make_request("real"))).answer is Answer.ALLOW
    assert (await rows(COUNTS))[0].admissions == 1


async def test_question_without_a_balance_is_unavailable_and_a_recorded_order_is_told(
    desk: SqlRiskDesk, life: Life
) -> None:
    unknown = await ask(desk)
    assert unknown.decision is not None and unknown.decision.answer is Answer.UNAVAILABLE
    await life.fund(USDT="1000")
    admitted = await life.admit(make_request("asked"))
    told = await ask(desk)
    assert (told.decision, told.order) == (None, admitted.order)


# Uses.


async def test_use_of_every_limit_is_what_the_gate_would_measure(desk: SqlRiskDesk, life: Life) -> None:
    await life.fund(USDT="1000")
    await life.limit(
        max_position_quantity={"BTC/USDT": "1"}, max_open_orders=3, max_orders_per_day=9, max_turnover_per_day="500",
        max_gross_exposure="800", max_order_notional="100", shadow="max_gross_exposure",
    )  # fmt: skip
    await life.admit(make_request("one"))
    await life.admit(make_request("two", quantity=Decimal("0.2")))
    told = {use.limit: (use.used, use.cap, use.symbol) for use in (await shown(desk)).limits}
    assert told == {
        "max_order_notional": (None, "100", None),
        "max_position_quantity": ("0.3", "1", "BTC/USDT"),
        "max_gross_exposure": ("30", "800", None),
        "max_open_orders": ("2", "3", None),
        "max_orders_per_day": ("2", "9", None),
        "max_turnover_per_day": ("30", "500", None),
    }
    gross = await used(desk, "max_gross_exposure")
    assert (gross.shadow, gross.inherited) == (True, True)
    assert (await shown(desk)).symbols[0].working_buy == Decimal("0.3")


async def test_use_whose_worth_is_not_known_says_so_and_is_not_zero(desk: SqlRiskDesk, life: Life) -> None:
    await life.fund(USDT="1000")
    await life.limit(max_gross_exposure="800")
    order = await life.resting()
    report = make_report(client_order_id=order.client_order_id, cum_qty=Decimal("0.1"), status="closed")
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=[make_fill()], now=NOW)
    use = await used(desk, "max_gross_exposure")
    assert use.used is None
    assert use.missing is not None and "price is missing" in use.missing


async def test_scopes_page_by_name(desk: SqlRiskDesk, life: Life) -> None:
    await life.fund(USDT="1000")
    await life.admit(make_request("one", strategy="grid"))
    told, after = [], None
    while page := await desk.scopes(TradingMode.SANDBOX, accounts=(), scope=None, after=after, limit=2, now=NOW):
        told += [use.scope for use in page]
        after = told[-1]
    assert told == ["account:binanceus", "firm", "key:test", "strategy:grid", "symbol:BTC/USDT"]
    assert not await desk.scopes(TradingMode.PAPER, accounts=(), scope=None, after=None, limit=9, now=NOW)


# Changes.


async def test_change_is_a_version_that_counts_at_once_and_says_who_what_and_why(desk: SqlRiskDesk, life: Life) -> None:
    await life.fund(USDT="1000")
    await life.limit(max_order_notional="100", max_open_orders=5)
    scope = f"account:{ACCOUNT}"
    told = await desk.change(scope, {"max_order_notional": "9"}, because="a calm day", changed_by="cli:jo", now=NOW)
    (change,) = told.changes
    assert (change.before, change.after, change.effect) == ("100", "9", Effect.TIGHTENS)
    assert told.version is not None
    assert (told.version.changed_by, told.version.because, told.version.source) == ("cli:jo", "a calm day", "operator")
    assert (await life.admit(make_request())).answer is Answer.DENY
    back = await desk.change(scope, {"max_order_notional": None}, because="over", changed_by="cli:jo", now=NOW)
    assert [change.effect for change in back.changes] == [Effect.LOOSENS]
    assert (await life.admit(make_request("later"))).answer is Answer.ALLOW
    newest = (await desk.versions(limit=1, before=None))[0]
    assert newest == back.version == await desk.limits()
    older = await desk.versions(limit=9, before=newest.version)
    assert [version.version for version in older] == [newest.version - 1, newest.version - 2]


async def test_changes_made_at_once_keep_every_one(desk: SqlRiskDesk) -> None:
    names = [f"key:agent-{number}" for number in range(20)]
    await asyncio.gather(
        *(desk.change(name, {"max_open_orders": 3}, because="new", changed_by="ann", now=NOW) for name in names)
    )
    holds = await desk.limits()
    assert holds is not None and sorted(holds.limits.by_scope) == sorted(names)


async def test_change_to_what_is_already_so_makes_no_version(desk: SqlRiskDesk) -> None:
    first = await desk.change("firm", {"max_open_orders": 3}, because="new", changed_by="ann", now=NOW)
    again = await desk.change("firm", {"max_open_orders": 3}, because="again", changed_by="ann", now=NOW)
    assert (again.version, again.changes) == (first.version, ())


@pytest.mark.parametrize(
    ("scope", "wanted", "told"),
    [
        ("firm", {"max_ordr_notional": "1"}, "did you mean max_order_notional?"),
        ("firma", {"max_open_orders": 1}, "did you mean firm?"),
        ("symbol:BTCUSDT", {"max_open_orders": 1}, "use symbol:BASE/QUOTE"),
        ("firm", {"max_order_notional": "-1"}, "max_order_notional"),
        ("firm", {"max_order_notional": 1.5}, "float"),
        ("firm", {"shadow": "max_everything"}, "is no limit"),
    ],
)
async def test_change_that_cannot_be_is_refused_with_the_nearest_name(
    desk: SqlRiskDesk, scope: str, wanted: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidRequest, match=told.replace("?", r"\?")):
        await desk.change(scope, wanted, because="a try", changed_by="ann", now=NOW)
    assert await desk.limits() is None


# A rehearsal.


async def test_rehearsal_tells_who_would_be_denied_and_who_would_be_admitted(desk: SqlRiskDesk, life: Life) -> None:
    await life.fund(USDT="1000")
    await life.limit(max_order_notional="15")
    for key in ("one", "two", "three"):
        await life.admit(make_request(key))
    large = await life.admit(make_request("large", quantity=Decimal("0.2")))
    assert large.answer is Answer.DENY
    recorded = await desk.recorded(since=datetime.now(UTC) - HOUR, limit=100)
    other = LimitSet(accounts=Limits(max_order_notional="50", max_position_quantity={"BTC/USDT": "0.2"}))
    told = rehearse(recorded, other)
    assert (told.orders, told.unchanged) == (4, 3)
    (verdict,) = told.verdicts
    assert (verdict.order_id, verdict.outcome, verdict.limit) == (
        make_request("three").order_id,
        Outcome.DENIED,
        "max_position_quantity",
    )
    assert verdict.numbers == {
        "held": "0", "working": "0.2", "quantity": "0.1", "position": "0.3", "max_position_quantity": "0.2",
    }  # fmt: skip
    looser = rehearse(recorded, LimitSet(accounts=Limits(max_order_notional="50")))
    assert [(verdict.order_id, verdict.outcome) for verdict in looser.verdicts] == [
        (large.order.order_id, Outcome.ADMITTED)
    ]


async def test_rehearsal_says_what_it_cannot_know(desk: SqlRiskDesk, life: Life) -> None:
    await life.fund(USDT="1000")
    await life.admit(make_request("one"))
    recorded = await desk.recorded(since=datetime.now(UTC) - HOUR, limit=100)
    told = rehearse(recorded, LimitSet(accounts=Limits(max_slippage="0.01")))
    assert told.unknown == {"max_slippage": 1}
    assert told.verdicts[0].outcome is Outcome.UNKNOWN


async def test_rehearsal_replays_rates_open_orders_and_fills(desk: SqlRiskDesk, life: Life) -> None:
    await life.fund(USDT="1000")
    order = await life.resting("one")
    report = make_report(client_order_id=order.client_order_id, cum_qty=Decimal("0.1"), status="closed")
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=[make_fill()], now=NOW)
    await life.admit(make_request("two"))
    recorded = await desk.recorded(since=datetime.now(UTC) - HOUR, limit=100)
    rated = rehearse(recorded, LimitSet(by_scope={"key:test": Limits(max_orders_per_minute=1)}))
    assert [(verdict.order_id, verdict.code) for verdict in rated.verdicts] == [
        (make_request("two").order_id, "ORDER_RATE_ABOVE_LIMIT")
    ]
    held = rehearse(recorded, LimitSet(accounts=Limits(max_position_quantity={"BTC/USDT": "0.15"})))
    assert [verdict.numbers["held"] for verdict in held.verdicts] == ["0.1"]
