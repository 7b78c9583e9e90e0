"""Cases about orders: matters that need a person, one open case for each order and code."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.events import Reason

_OPEN = text(
    """
    INSERT INTO cases (account, subject, order_id, code, reason, opened_at)
    VALUES (:account, :order_id, :order_id, :code, (:reason ::text)::jsonb, :now)
    ON CONFLICT (account, subject, code) WHERE closed_at IS NULL DO NOTHING
    """
)
_CLOSE = text(
    """
    UPDATE cases SET closed_at = :now, resolution = :resolution
    WHERE account = :account AND subject = :order_id AND code = :code AND closed_at IS NULL
    """
)
_OPEN_ONES = text("SELECT order_id FROM cases WHERE account = :account AND code = :code AND closed_at IS NULL")


async def open_case(connection: AsyncConnection, account: str, order_id: str, reason: Reason, *, now: datetime) -> bool:
    """Open the case that the reason's code names; false when it is open already."""
    case = {"account": account, "order_id": order_id, "code": reason.code, "reason": reason.model_dump_json()}
    return (await connection.execute(_OPEN, {**case, "now": now})).rowcount == 1


async def close_case(
    connection: AsyncConnection, account: str, order_id: str, code: str, *, resolution: str, now: datetime
) -> bool:
    """Close a case with what came of it; false when it is not open."""
    case = {"account": account, "order_id": order_id, "code": code}
    return (await connection.execute(_CLOSE, {**case, "resolution": resolution, "now": now})).rowcount == 1


async def orders_with_open_case(connection: AsyncConnection, account: str, code: str) -> Sequence[str]:
    """Return the ids of the orders with an open case of that code."""
    return list((await connection.execute(_OPEN_ONES, {"account": account, "code": code})).scalars())
