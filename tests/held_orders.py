"""Orders that wait for a person: the gate's answer HOLD, written through the order's own functions."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.approvals import APPROVAL_REQUIRED, EXPIRES_S
from domain.events import OrderEvent
from domain.instrument import deny
from domain.lifecycle import OrderEventType
from domain.numbers import multiply
from domain.order import Order, OrderRequest
from domain.ports import Admission
from domain.risk import AccountTerms, Answer, Validated, reservation_for
from storage import holdings, order_rows
from storage.database import in_transaction
from storage.order_store import SqlOrderStore


class HoldingStore(SqlOrderStore):
    """A ledger whose gate asks a person about every order."""

    expires_s = 900

    async def admit(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Admission:
        """Hold the order, with its reservation taken."""
        normal, instrument = validated.normal, validated.instrument
        assert normal is not None and instrument is not None
        price = normal.price or validated.reference_price
        assert price is not None
        numbers = {"notional": multiply(normal.quantity, price), "approval_above_notional": "1"}
        reason = deny(
            APPROVAL_REQUIRED, "a person must approve the order", **numbers, **{EXPIRES_S: str(self.expires_s)}
        )
        order = request.new_order(exchange=terms.exchange, mode=terms.mode)
        event = OrderEvent(
            event_type=OrderEventType.HELD, ts_event=now, reason=reason, requested_by=request.requested_by
        )
        reservation = reservation_for(request.ticket, instrument, quantity=normal.quantity, price=price)

        async def work(connection: AsyncConnection) -> Order:
            held = order.apply(event)
            if not await order_rows.add(connection, held):
                return await order_rows.load(connection, request.account, request.order_id)
            assert await holdings.reserve(connection, held, reservation)
            await order_rows.append(connection, held, event)
            return held

        held = await in_transaction(self._engine, work)
        return Admission(answer=Answer.HOLD, order=held, reason=reason)
