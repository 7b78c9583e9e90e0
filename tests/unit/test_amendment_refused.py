"""An amendment that cannot be checked is refused to who asked for it; the order's workflow goes on."""

from decimal import Decimal

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutError, TimeoutType

from domain.lifecycle import OrderStatus
from domain.order import OrderRequest, TradingMode
from domain.risk import Validated
from tests.factories import make_request
from workflows import steps
from workflows.messages import AmendOrder, OrderInput
from workflows.order_workflow import OrderWorkflow


@pytest.mark.parametrize("kind", TimeoutType)
async def test_amendment_whose_rules_are_not_read_in_time_is_refused_and_fails_nothing(
    kind: TimeoutType, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed_out = TimeoutError(kind.name, type=kind, last_heartbeat_details=[])
    refusal = await _amended(timed_out, monkeypatch)
    assert (refusal.type, refusal.non_retryable) == ("VENUE_UNAVAILABLE", True)
    assert "could not be read in time" in refusal.message


async def test_amendment_that_the_venue_does_not_answer_is_refused_in_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = ApplicationError("the venue does not answer", type="VENUE_UNAVAILABLE")
    assert await _amended(said, monkeypatch) is said


async def _amended(cause: BaseException, monkeypatch: pytest.MonkeyPatch) -> ApplicationError:
    """Begin an amendment whose `validate` ends with that cause, and return what its caller is told."""

    async def fails(request: OrderRequest) -> Validated:
        raise _failed_with(cause)

    monkeypatch.setattr(steps, "validate", fails)
    request = make_request()
    placed = request.new_order(exchange="binance", mode=TradingMode.LIVE)
    resting = placed.model_copy(update={"status": OrderStatus.ACCEPTED})
    order = OrderWorkflow(OrderInput(request=request, adopt=resting))
    amend = AmendOrder(price=Decimal(101))
    order._amend = amend
    await order._begin_amendment(resting, amend)
    assert order._amend is None and order._order == resting
    assert order._amend_refusal is not None
    return order._amend_refusal


def _failed_with(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "activity failed",
        scheduled_event_id=0,
        started_event_id=0,
        identity="",
        activity_type="validate",
        activity_id="",
        retry_state=RetryState.TIMEOUT,
    )
    error.__cause__ = cause
    return error
