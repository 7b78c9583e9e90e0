"""Which orders count as failed: those that ended for lack of an answer, and no others."""

from decimal import Decimal

import pytest

from domain.events import Reason
from domain.faults import fault_of
from domain.lifecycle import OrderStatus
from domain.order import TradingMode
from tests.factories import make_request


@pytest.mark.parametrize(
    ("status", "code", "filled", "fault"),
    [
        (OrderStatus.DENIED, "VENUE_UNAVAILABLE", "0", "VENUE_UNAVAILABLE"),
        (OrderStatus.DENIED, "RISK_AGENT_UNAVAILABLE", "0", "RISK_AGENT_UNAVAILABLE"),
        (OrderStatus.REJECTED, "VENUE_UNREACHABLE", "0", "VENUE_UNREACHABLE"),
        (OrderStatus.REJECTED, "FIGURE_NOT_CARRIED", "0", "FIGURE_NOT_CARRIED"),
        (OrderStatus.REJECTED, "VENUE_REFUSED", "0", None),
        (OrderStatus.REJECTED, "INSUFFICIENT_FUNDS", "0", None),
        (OrderStatus.REJECTED, "ORDER_TYPE_NOT_SUPPORTED", "0", None),
        (OrderStatus.DENIED, "ORDER_NOTIONAL_ABOVE_LIMIT", "0", None),
        (OrderStatus.DENIED, "KILL_SWITCH_ON", "0", None),
        (OrderStatus.CANCELED, "OUTCOME_UNKNOWN", "0", None),
        (OrderStatus.REJECTED, "VENUE_UNREACHABLE", "0.1", None),
        (OrderStatus.FILLED, None, "1", None),
    ],
)
def test_only_an_order_that_ended_unfilled_for_lack_of_an_answer_failed(
    status: OrderStatus, code: str | None, filled: str, fault: str | None
) -> None:
    reason = Reason(code=code, text="because") if code is not None else None
    order = make_request().new_order(exchange="binanceus", mode=TradingMode.LIVE)
    order = order.model_copy(update={"status": status, "reason": reason, "cum_qty": Decimal(filled)})
    assert fault_of(order) == fault
