"""The gate over REST: what it would say to a ticket, what its limits are used up to, and changes of them.

All of it needs the ledger alone, but for the market data of a dry question.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ValidationError

from api.callers import By
from api.context import Context, Ctx, answer, json_body
from api.numbers import JsonNumber
from api.orders import REQUESTED_BY, _checked
from api.problems import problem, wrong_fields
from api.risk_schemas import (
    AuditJson,
    ChangedJson,
    LimitsBody,
    LimitsJson,
    RehearsalJson,
    ScopeJson,
    SimulateBody,
    SimulatedJson,
    TryBody,
    VersionJson,
    audit_json,
    changed_json,
    limits_json,
    rehearsal_json,
    scope_json,
    simulated_json,
    version_json,
)
from api.schemas import OrderBody, parse_body
from domain.api_keys import Caller
from domain.errors import CredentialsUnavailable, UnknownAccount, UnknownSymbol, VenueError
from domain.exposure import Validated
from domain.instrument import deny
from domain.limits import LimitSet, ScopeKind
from domain.order import OrderRequest, TradingMode
from domain.rehearsal import rehearse
from domain.risk import Answer, Decision
from domain.risk_agent import is_concerned
from domain.risk_desk import LimitVersion, Simulated
from settings import RiskSettings
from starter.client import new_request

router = APIRouter(tags=["risk"])

VERSION_MAX: Final = 2**63 - 1
REHEARSED_MAX: Final = 10_000
"""Orders that one rehearsal reads at most."""
SINCE_DEFAULT: Final = timedelta(days=1)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_NO_LIMITS: Final = LimitVersion(
    version=0, limits=LimitSet(), source="none", changed_by="nobody", because="none were ever set",
    changed_at=datetime.fromtimestamp(0, UTC),
)  # fmt: skip


def _takes(model: type[BaseModel]) -> dict[str, Any]:
    """Say in the documentation what body a route takes: it is read by our own reader, for exact numbers."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


# A dry question.

_ASKED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": SimulatedJson, "description": "What the gate would say, whatever it is; nothing is recorded"},
    422: {"description": "Not readable, or no such exchange or symbol"},
}


@router.post("/orders/validate", responses=_ASKED, response_model=None, openapi_extra=_takes(OrderBody))
async def validate_order(request: Request, context: Ctx, caller: By) -> Response:
    """Say what would happen to an order now, and why: the body of `POST /orders`, and nothing is placed."""
    body = parse_body(OrderBody, await json_body(request))
    return await _asked(body, context, caller, caller.name or REQUESTED_BY, "/orders/validate")


@router.post("/risk/simulate", responses=_ASKED, response_model=None, openapi_extra=_takes(SimulateBody))
async def simulate(request: Request, context: Ctx, caller: By) -> Response:
    """Say what would happen to somebody's order now, and why; nothing is placed."""
    body = parse_body(SimulateBody, await json_body(request))
    asker = body.requested_by or caller.name or REQUESTED_BY
    return await _asked(body, context, caller, asker, "/risk/simulate")


async def _asked(body: OrderBody, context: Context, caller: Caller, requested_by: str, path: str) -> Response:
    try:
        account, ticket = await _checked(body, context, caller)
    except (UnknownAccount, UnknownSymbol) as error:
        return problem(error, status=422, instance=path)
    mode, agent = context.settings.mode_of(account), context.settings.risk.agent
    asked = new_request(ticket, account=account, requested_by=requested_by)
    simulated, validated = await _simulated(context, account, asked)
    asks_agent = agent.url is not None and is_concerned(asked, tuple(agent.scopes))
    told = simulated_json(simulated, validated, account=account, mode=mode, ticket=ticket, asks_agent=asks_agent)
    return answer(told)


async def _simulated(context: Context, account: str, request: OrderRequest) -> tuple[Simulated, Validated | None]:
    now, ticket = datetime.now(UTC), request.ticket
    holds = await context.risk.limits()
    limits = (holds.limits if holds is not None else LimitSet()).of_order(request).values()
    try:
        validated = await context.venues.look(account, ticket, limits=limits, now=now)
    except (VenueError, CredentialsUnavailable) as error:
        decision = Decision(answer=Answer.UNAVAILABLE, reason=deny(error.code, error.message))
        version = holds.version if holds is not None else None
        return Simulated(decision=decision, order=None, version=version, at=now), None
    terms = context.settings.terms()[account].model_copy(update={"reconciled_since": _LONG_AGO})
    return await context.risk.simulate(request, validated, terms=terms, now=now), validated


# Limits, and their use.

Scope = Annotated[str | None, Query(max_length=80, description="one scope; all if left out")]
Mode = Annotated[TradingMode | None, Query(description="scopes of this mode; the default account's if left out")]
After = Annotated[str | None, Query(max_length=80, description="last scope of the page before")]
Page = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[int | None, Query(ge=1, le=VERSION_MAX, description="last version of the page before")]


@router.get("/risk/limits", response_model=LimitsJson)
async def show_limits(context: Ctx) -> Response:
    """Return the limits that hold by scope, their version, and who changed them last."""
    return answer(limits_json(await context.risk.limits() or _NO_LIMITS))


@router.get("/risk/exposures", response_model=list[ScopeJson])
async def list_exposures(
    request: Request, context: Ctx, scope: Scope = None, mode: Mode = None, limit: Page = 100, after: After = None
) -> Response:
    """Return scopes by name: what they hold and work, their limits, and what is used of each now."""
    settings = context.settings
    mode = mode or settings.mode_of(settings.default_exchange)
    accounts = [account for account in settings.accounts if settings.mode_of(account) is mode]
    now = datetime.now(UTC)
    found = await context.risk.scopes(mode, accounts=accounts, scope=scope, after=after, limit=limit, now=now)
    headers = _next(request, after=found[-1].scope) if len(found) == limit else {}
    return answer([scope_json(use) for use in found], headers=headers)


@router.get("/risk/limits/versions", response_model=list[VersionJson])
async def list_versions(request: Request, context: Ctx, limit: Page = 100, before: Before = None) -> Response:
    """Return versions of the limits, newest first: who changed what and why, and whether it loosened anything."""
    found = await context.risk.versions(limit=limit + 1, before=before)
    page = found[:limit]
    headers = _next(request, before=page[-1].version) if len(found) > limit else {}
    earlier: Sequence[LimitVersion] = [*found[1:], _NO_LIMITS]
    told = [version_json(version, previous) for version, previous in zip(page, earlier, strict=False)]
    return answer(told, headers=headers)


def _next(request: Request, **place: object) -> dict[str, str]:
    following = request.url.include_query_params(**place)
    return {"Link": f'<{following.path}?{following.query}>; rel="next"'}


@router.patch("/risk/limits", response_model=ChangedJson, openapi_extra=_takes(LimitsBody))
async def change_limits(request: Request, context: Ctx, caller: By) -> Response:
    """Change limits of one scope: a new version that counts from the answer on. `null` takes a limit away."""
    body = parse_body(LimitsBody, await json_body(request))
    kind, _, name = body.scope.partition(":")
    if kind == ScopeKind.ACCOUNT:
        context.venues.check_account(name)
    changed = await context.risk.change(
        body.scope,
        {limit: _unwrapped(value) for limit, value in body.limits.items()},
        because=body.because,
        changed_by=caller.signs(body.requested_by, otherwise=REQUESTED_BY),
        now=datetime.now(UTC),
    )
    return answer(changed_json(changed))


def _unwrapped(value: object) -> object:
    """Return JSON with its numbers as text, as limits are written in the file."""
    match value:
        case JsonNumber():
            return value.text
        case Mapping():
            return {name: _unwrapped(item) for name, item in value.items()}
        case list():
            return tuple(_unwrapped(item) for item in value)
        case _:
            return value


# The past, and the sums.


@router.post("/risk/try", response_model=RehearsalJson, openapi_extra=_takes(TryBody))
async def try_limits(request: Request, context: Ctx) -> Response:
    """Say what other limits would have said to the orders of the past. `risk` is the file's table `[risk]`."""
    body = parse_body(TryBody, await json_body(request))
    try:
        limits = RiskSettings.model_validate(_unwrapped(body.risk)).limit_set()
    except ValidationError as error:
        raise wrong_fields(error.errors(), known=RiskSettings.model_fields) from None
    since = body.since or datetime.now(UTC) - SINCE_DEFAULT
    recorded = await context.risk.recorded(since=since, limit=REHEARSED_MAX)
    rehearsal = await asyncio.to_thread(rehearse, recorded, limits)  # other requests go on meanwhile
    return answer(rehearsal_json(rehearsal))


@router.get("/risk/audit", response_model=AuditJson)
async def audit(context: Ctx) -> Response:
    """Compare what every scope holds and works with the sums of orders and fills."""
    return answer(audit_json(await context.risk.audit()))
