"""Cases: matters that need a person, one open case for each subject and code."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.comparison import Case
from domain.errors import CaseNotFound
from domain.events import Reason
from storage.tables import cases

_STILL_OPEN = text("closed_at IS NULL")


async def open_case(
    connection: AsyncConnection, account: str, subject: str, reason: Reason, *, order_id: str | None, now: datetime
) -> bool:
    """Open the case that the reason's code names; false when it is open already."""
    row = insert(cases).values(_figures(account, subject, reason, order_id, now))
    keys = ["account", "subject", "code"]
    opened = await connection.execute(row.on_conflict_do_nothing(index_elements=keys, index_where=_STILL_OPEN))
    return opened.rowcount == 1


async def open_another(
    connection: AsyncConnection, account: str, subject: str, reason: Reason, *, order_id: str | None, now: datetime
) -> None:
    """Open a case for something that happened again; one that is still open is closed as followed by it."""
    await close_case(connection, account, subject, reason.code, resolution="followed by another", now=now)
    await open_case(connection, account, subject, reason, order_id=order_id, now=now)


async def open_once(
    connection: AsyncConnection, account: str, subject: str, reason: Reason, *, order_id: str | None, now: datetime
) -> bool:
    """Open a case; false when its subject ever had one of that code."""
    mine = (cases.c.account == account, cases.c.subject == subject, cases.c.code == reason.code)
    if (await connection.execute(select(cases.c.case_id).where(*mine).limit(1))).first() is not None:
        return False
    return await open_case(connection, account, subject, reason, order_id=order_id, now=now)


def _figures(account: str, subject: str, reason: Reason, order_id: str | None, now: datetime) -> dict[str, Any]:
    case = {"account": account, "subject": subject, "order_id": order_id, "code": reason.code}
    return {**case, "reason": reason.model_dump_json(), "opened_at": now}


async def close_case(
    connection: AsyncConnection, account: str, subject: str, code: str, *, resolution: str, now: datetime
) -> bool:
    """Close a case with a word on what came of it; false when it is not open."""
    mine = (cases.c.account == account, cases.c.subject == subject, cases.c.code == code, cases.c.closed_at.is_(None))
    closed = await connection.execute(update(cases).where(*mine).values(closed_at=now, resolution=resolution))
    return closed.rowcount == 1


async def close_others(
    connection: AsyncConnection, account: str, code: str, *, but: Collection[str], resolution: str, now: datetime
) -> Sequence[str]:
    """Close the open cases of a code, except those of some subjects; return the subjects of the closed."""
    closing = (
        update(cases)
        .where(cases.c.account == account, cases.c.code == code, cases.c.closed_at.is_(None))
        .where(cases.c.subject.not_in(list(but)))
        .values(closed_at=now, resolution=resolution)
        .returning(cases.c.subject)
    )
    return list((await connection.execute(closing)).scalars())


async def orders_with_open_case(connection: AsyncConnection, account: str, code: str) -> Sequence[str]:
    """Return the ids of the orders with an open case of that code."""
    query = select(cases.c.order_id).where(
        cases.c.account == account, cases.c.code == code, cases.c.closed_at.is_(None), cases.c.order_id.is_not(None)
    )
    return list((await connection.execute(query)).scalars())


async def any_open(connection: AsyncConnection, account: str, subject: str) -> bool:
    """Tell whether a subject has an open case."""
    mine = (cases.c.account == account, cases.c.subject == subject, cases.c.closed_at.is_(None))
    return (await connection.execute(select(cases.c.case_id).where(*mine).limit(1))).first() is not None


async def any_open_of_order(connection: AsyncConnection, account: str, order_id: str) -> bool:
    """Tell whether an order has an open case, also one about it at the venue."""
    mine = (cases.c.account == account, cases.c.order_id == order_id, cases.c.closed_at.is_(None))
    return (await connection.execute(select(cases.c.case_id).where(*mine).limit(1))).first() is not None


async def listed(
    connection: AsyncConnection, account: str, *, is_open: bool | None, limit: int, before: int | None
) -> Sequence[Case]:
    """Return up to `limit` cases, newest first, with a number below `before`."""
    query = select(cases).where(cases.c.account == account)
    if is_open is not None:
        query = query.where(cases.c.closed_at.is_(None) if is_open else cases.c.closed_at.is_not(None))
    if before is not None:
        query = query.where(cases.c.case_id < before)
    rows = await connection.execute(query.order_by(cases.c.case_id.desc()).limit(limit))
    return [_case(row) for row in rows]


async def numbered(connection: AsyncConnection, account: str, case_id: int) -> Case:
    """Return one case. Raises `CaseNotFound`."""
    query = select(cases).where(cases.c.account == account, cases.c.case_id == case_id)
    row = (await connection.execute(query)).first()
    if row is None:
        raise CaseNotFound(f"account {account} has no case {case_id}")
    return _case(row)


def _case(row: Row[Any]) -> Case:
    return Case(
        **{name: getattr(row, name) for name in Case.model_fields if name != "reason"},
        reason=Reason.model_validate_json(row.reason),
    )


async def close_numbered(
    connection: AsyncConnection, account: str, case_id: int, *, resolution: str, now: datetime
) -> bool:
    """Close one case by its number; false when there is no such open case."""
    mine = (cases.c.account == account, cases.c.case_id == case_id, cases.c.closed_at.is_(None))
    closed = await connection.execute(update(cases).where(*mine).values(closed_at=now, resolution=resolution))
    return closed.rowcount == 1


__all__ = [
    "any_open",
    "any_open_of_order",
    "close_case",
    "close_numbered",
    "close_others",
    "listed",
    "numbered",
    "open_another",
    "open_case",
    "open_once",
    "orders_with_open_case",
]
