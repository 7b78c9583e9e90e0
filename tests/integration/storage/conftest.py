"""An account that was compared with its venue, and the steps that bring an order to a point of its life."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.limits import Limits, LimitSet
from domain.order import Order, OrderRequest
from domain.ports import Admission, Attempt
from domain.reports import Balance, SubmitOutcome, SubmitVerdict
from storage import limit_sets
from storage.database import in_transaction
from storage.order_store import SqlOrderStore
from tests.factories import NOW, make_report, make_request, make_terms, make_validated

ACCOUNT = "binanceus"
BEFORE = NOW - timedelta(minutes=1)
Rows = Callable[..., Awaitable[list[Any]]]


def balance(asset: str, total: str) -> Balance:
    """All of it free."""
    return Balance(asset=asset, free=Decimal(total), used=Decimal(0), total=Decimal(total))


class Life:
    """Steps of orders' lives on the real ledger."""

    def __init__(self, store: SqlOrderStore) -> None:
        self.store = store

    async def fund(self, *, asked_at: datetime = BEFORE, told_at: datetime | None = None, **totals: str) -> None:
        """Let the venue tell balances."""
        told = [balance(asset, total) for asset, total in totals.items()]
        await self.store.record_balances(ACCOUNT, told, asked_at=asked_at, told_at=told_at)

    async def limit(self, *, scope: str | None = None, **limits: Any) -> None:
        """Let limits hold for every account, or for one scope."""
        own = Limits(**limits)
        limit_set = LimitSet(by_scope={scope: own}) if scope is not None else LimitSet(accounts=own)
        told = {"source": "operator", "changed_by": "test", "because": "a test", "now": NOW}
        await in_transaction(self.store._engine, lambda connection: limit_sets.add(connection, limit_set, **told))

    async def admit(self, request: OrderRequest, **limits: Any) -> Admission:
        """Pass the gate with a ticket that fits its instrument."""
        if limits:
            await self.limit(**limits)
        return await self.store.admit(request, make_validated(request), terms=make_terms(ACCOUNT), now=NOW)

    async def sent(self, request: OrderRequest) -> Attempt:
        """Admit, journal, and let the bytes leave."""
        await self.admit(request)
        attempt = await self.store.open_attempt(ACCOUNT, request.order_id, worker="w", now=NOW)
        assert await self.store.pass_last_look(attempt, now=NOW)
        return attempt

    async def resting(self, key: str = "key", *, venue_order_id: str = "7", **ticket: Any) -> Order:
        """An order that the venue has accepted."""
        attempt = await self.sent(make_request(key, **ticket))
        report = make_report(venue_order_id=venue_order_id, client_order_id=attempt.client_order_id)
        outcome = SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=report)
        return await self.store.record_outcome(attempt, outcome, now=NOW)


@pytest.fixture
def life(store: SqlOrderStore) -> Life:
    """Steps on the test's own ledger."""
    return Life(store)


@pytest.fixture
def rows(engine: AsyncEngine) -> Rows:
    """Read rows with plain SQL, past the code under test."""

    async def read(query: str, **values: Any) -> list[Any]:
        async with engine.connect() as connection:
            return list(await connection.execute(text(query), values))

    return read
