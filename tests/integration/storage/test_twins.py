"""Orders that are like another one: equal in all that they ask for, within the window of each scope."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.limits import Limits, LimitSet
from domain.order import OrderRequest, OrderSide, OrderType
from domain.risk import Answer
from storage import limit_sets
from storage.database import in_transaction
from tests.factories import NOW, make_request
from tests.integration.storage.conftest import Life


def placed(key: str, *, ago_s: int = 0, **ticket: Any) -> OrderRequest:
    """Return a request of so many seconds ago, by the clock that the ledger goes by."""
    asked_at = datetime.now(UTC) - timedelta(seconds=ago_s)
    return make_request(key, **ticket).model_copy(update={"requested_at": asked_at})


async def test_stops_at_other_prices_are_no_twins(life: Life) -> None:
    await life.fund(BTC="10")
    await life.limit(duplicate_window_s=3600)
    stop = {"side": OrderSide.SELL, "order_type": OrderType.STOP, "price": None}
    for key, trigger, answer in (("a", 90, Answer.ALLOW), ("b", 80, Answer.ALLOW), ("c", 90, Answer.DENY)):
        admission = await life.admit(placed(key, trigger_price=Decimal(trigger), **stop))
        assert admission.answer is answer, admission.reason


async def test_each_scope_counts_its_own_window(life: Life) -> None:
    """The firm's is longer and only recorded: it must not make the strategy's longer too."""
    await life.fund(USDT="1000")
    own = {
        "firm": Limits(duplicate_window_s=3600, shadow=("duplicate_window_s",)),
        "strategy:momentum": Limits(duplicate_window_s=60),
    }
    told = {"source": "operator", "changed_by": "test", "because": "a test", "now": NOW}
    limit_set = LimitSet(by_scope=own)
    await in_transaction(life.store._engine, lambda connection: limit_sets.add(connection, limit_set, **told))
    assert (await life.admit(placed("old", ago_s=300, strategy="momentum"))).answer is Answer.ALLOW
    assert (await life.admit(placed("new", strategy="momentum"))).answer is Answer.ALLOW
    twin = await life.admit(placed("twin", strategy="momentum"))
    assert twin.answer is Answer.DENY and twin.reason is not None
    assert (twin.reason.code, twin.reason.numbers["twin"]) == ("DUPLICATE_ORDER", placed("new").order_id)
