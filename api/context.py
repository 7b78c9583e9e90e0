"""What the routes work with: made once by `app.py`, reached through the request."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request, Response

from api.errors import BodyTooLarge
from api.health import HealthChecks
from api.numbers import read_json, write_json
from api.venues import Venues
from domain.approvals import ApprovalReader
from domain.kill import KillSwitch
from domain.performance import PerformanceReader
from domain.ports import OrderReader
from domain.records import RecordReader
from domain.risk_desk import RiskDesk
from domain.valuation import AccountingReader
from settings import Settings
from starter.client import ExecutionClient

BODY_MAX_BYTES: Final = 64 * 1024
DRAIN_MAX_BYTES: Final = 32 * 1024 * 1024
"""A larger body is read on and thrown away, so that its sender gets to see the answer instead of a broken pipe."""


@dataclass(frozen=True)
class Context:
    """The parts behind the routes."""

    settings: Settings
    client: ExecutionClient
    reader: OrderReader
    approvals: ApprovalReader
    accounting: AccountingReader
    records: RecordReader
    performance: PerformanceReader
    venues: Venues
    health: HealthChecks
    switches: KillSwitch
    risk: RiskDesk


async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def _account(exchange: str, request: Request) -> str:
    return (await _context(request)).venues.check_account(exchange)


Ctx = Annotated[Context, Depends(_context)]
Account = Annotated[str, Depends(_account)]
"""The path's `exchange`, known to be configured."""


async def json_body(request: Request) -> object:
    """Read the body. Raises `BodyTooLarge` and `BodyUnreadable`."""
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_MAX_BYTES:
            body += chunk
        elif size > DRAIN_MAX_BYTES:
            break
    if size > BODY_MAX_BYTES:
        raise BodyTooLarge(f"the body is larger than {BODY_MAX_BYTES} bytes")
    return read_json(bytes(body))


def answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with values of ours as JSON."""
    return Response(write_json(value), status, headers, "application/json")
