"""What the watch measures, over a scripted venue: which switch is pulled, when, and with which figures."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from activities.trip_watch import TripWatch
from domain.comparison import POSITION_MISMATCH
from domain.errors import VenueUnavailable
from domain.kill import Engaged, Switch
from domain.order import Order, TradingMode
from domain.trips import (
    CLOCK_SKEWED,
    LOSS_LIMIT,
    RECONCILIATION_MISMATCH,
    STALE_MARKET_DATA,
    VENUE_ERRORS,
    Trip,
    TripTerms,
    loss_trip,
)
from observability import metrics
from tests.factories import NOW, make_request
from tests.workflow.scripted_exchange import ScriptedExchange


@dataclass
class Stage:
    """One account, its figures, and the trips that came of them."""

    account: str
    terms: TripTerms
    now: datetime = NOW
    codes: Collection[str] = ()
    orders: Sequence[Order] = ()
    loss: Decimal = Decimal(0)
    venue: ScriptedExchange = field(default_factory=ScriptedExchange)
    trips: list[Trip] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = TripWatch(
            terms=self.terms,
            exchanges={self.account: self.venue},
            open_cases=self._open_cases,
            working=self._working,
            losses=self._lost,
            trip=self._trip,
            clock=lambda: self.now,
        )

    async def _open_cases(self, account: str) -> Collection[str]:
        return self.codes

    async def _working(self, account: str) -> Sequence[Order]:
        return self.orders

    async def _lost(self, account: str, terms: TripTerms) -> Sequence[Trip | None]:
        figures = {"loss": self.loss, "limit": Decimal(100)}
        return [loss_trip(f"account:{account}", **figures, currency="USDT", terms=terms)]

    async def _trip(self, trip: Trip) -> Engaged | None:
        if trip.scope in [known.scope for known in self.trips]:
            return None
        self.trips.append(trip)
        switch = Switch(
            scope=trip.scope, code=trip.reason.code, reason=trip.reason.text, engaged_by="volex", engaged_at=self.now
        )
        return Engaged(switch=switch, fresh=True)

    async def after(self, seconds: float) -> list[str]:
        """Look again after so long; return the codes of the trips so far."""
        self.now += timedelta(seconds=seconds)
        await self.watch.round()
        return [trip.reason.code for trip in self.trips]


def working_order() -> Order:
    """An order that works."""
    return make_request().new_order(exchange="binanceus", mode=TradingMode.SANDBOX)


async def test_open_case_of_a_position_pulls_the_accounts_switch_once() -> None:
    stage = Stage("trip-case", TripTerms())
    assert await stage.after(1) == []
    stage.codes = [POSITION_MISMATCH]
    assert await stage.after(1) == [RECONCILIATION_MISMATCH]
    assert await stage.after(1) == [RECONCILIATION_MISMATCH]
    assert stage.trips[0].scope == "account:trip-case"


async def test_failed_calls_of_the_last_minute_pull_it() -> None:
    stage = Stage("trip-errors", TripTerms(max_error_share=Decimal("0.5"), error_calls_min=4))
    assert await stage.after(1) == []
    for number in range(4):
        try:
            with metrics.venue_request("trip-errors", "fetch_order"):
                if number:
                    raise VenueUnavailable("no answer")
        except VenueUnavailable:
            pass
    assert await stage.after(1) == [VENUE_ERRORS]
    assert stage.trips[0].reason.numbers["failed"] == "3"


async def test_failed_calls_of_another_account_or_of_long_ago_do_not() -> None:
    stage = Stage("trip-calm", TripTerms(max_error_share=Decimal(0), error_calls_min=1, error_window_s=60))
    for account in ("trip-other", "trip-calm"):
        with pytest.raises(VenueUnavailable), metrics.venue_request(account, "fetch_order"):
            raise VenueUnavailable("no answer")
    assert await stage.after(1) == [], "it counts from its first look"
    assert await stage.after(120) == []


async def test_market_that_is_not_seen_while_orders_work_pulls_it() -> None:
    stage = Stage("trip-stale", TripTerms(max_market_age_s=10))
    stage.venue.is_down = True
    assert await stage.after(60) == [], "no order works"
    stage.orders = [working_order()]
    assert await stage.after(6) == [], "it counts from its first look"
    assert await stage.after(6) == []
    assert await stage.after(6) == [STALE_MARKET_DATA]
    assert stage.trips[0].reason.numbers["symbol"] == "BTC/USDT"


async def test_loss_that_reaches_its_limit_pulls_it() -> None:
    stage = Stage("trip-loss", TripTerms(loss_limit=True), loss=Decimal("99.9"))
    assert await stage.after(6) == []
    stage.loss = Decimal(100)
    assert await stage.after(6) == [LOSS_LIMIT]


async def test_clock_that_is_off_pulls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage("trip-skew", TripTerms(max_clock_skew_ms=500))
    status = await stage.venue.status()
    skews = iter((None, 400, -600))

    async def told() -> object:
        return status.model_copy(update={"clock_skew_ms": next(skews)})

    monkeypatch.setattr(stage.venue, "status", told)
    assert await stage.after(6) == []
    assert await stage.after(6) == []
    assert await stage.after(1) == [], "the venue is asked rarely"
    assert await stage.after(6) == [CLOCK_SKEWED]
