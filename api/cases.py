"""Cases over REST: what does not fit and needs a person; and the comparison that finds it, on demand."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from api.callers import By
from api.context import Account, Ctx, answer, json_body
from api.problems import as_numbers
from api.schemas import Number, parse_body
from domain.comparison import CASE_ID_MAX, Case, Reconciled
from domain.decisions import Because
from domain.errors import CaseNotFound

router = APIRouter(tags=["cases"])

CLOSED_BY: Final = "rest"
RECONCILE_WAIT_S: Final = 30.0


class CaseJson(BaseModel):
    """A matter that needs a person, with its evidence; `closed_at` and `resolution` are `null` while it is open."""

    id: int
    exchange: str
    subject: str
    order_id: str | None
    code: str
    text: str
    numbers: dict[str, Number | str]
    opened_at: datetime
    closed_at: datetime | None
    resolution: str | None


class CloseBody(BaseModel):
    """Body of `POST /cases/{exchange}/{id}/close`: what was found, printable ASCII of 1 to 200 characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    because: Because


class ReconciledJson(BaseModel):
    """What one comparison of ledger, Temporal and venue found; `cases` are those that it opened, `CODE subject`."""

    exchange: str
    began_at: datetime
    unfinished: int
    open_at_venue: int
    adopted: list[str]
    adopted_in_all: int
    cases: list[str]


def case_json(case: Case) -> CaseJson:
    """Return the case in the wire's words."""
    return CaseJson(
        id=case.case_id,
        exchange=case.account,
        subject=case.subject,
        order_id=case.order_id,
        code=case.code,
        text=case.reason.text,
        numbers=dict(as_numbers(case.reason.numbers)),
        opened_at=case.opened_at,
        closed_at=case.closed_at,
        resolution=case.resolution,
    )


def reconciled_json(found: Reconciled) -> ReconciledJson:
    """Return what was found in the wire's words."""
    return ReconciledJson(
        exchange=found.account,
        began_at=found.began_at,
        unfinished=found.unfinished,
        open_at_venue=found.open_at_venue,
        adopted=list(found.adopted),
        adopted_in_all=found.adopted_in_all,
        cases=list(found.cases),
    )


IsOpen = Annotated[bool | None, Query(alias="open", description="only open, or only closed ones; all if left out")]
Limit = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[int | None, Query(ge=1, le=CASE_ID_MAX, description="id of the last case of the page before")]


@router.get("/cases/{exchange}", response_model=list[CaseJson])
async def list_cases(
    request: Request, account: Account, context: Ctx, is_open: IsOpen = None, limit: Limit = 100, before: Before = None
) -> Response:
    """Return cases, newest first. The `Link` header leads to the next page."""
    cases = await context.reader.cases(account, is_open=is_open, limit=limit, before=before)
    headers = {}
    if len(cases) == limit:
        following = request.url.include_query_params(before=cases[-1].case_id)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return answer([case_json(case) for case in cases], headers=headers)


@router.post(
    "/cases/{exchange}/{case_id}/close",
    response_model=CaseJson,
    responses={404: {"description": "No such case"}, 409: {"description": "Closed before"}},
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": CloseBody.model_json_schema()}}}
    },
)
async def close_case(request: Request, account: Account, case_id: str, context: Ctx, caller: By) -> Response:
    """Close a case that somebody has looked into. Who and why is kept in `resolution`."""
    body = parse_body(CloseBody, await json_body(request))
    closed = await context.client.close_case(
        account, _number(account, case_id), because=body.because, closed_by=caller.signs(None, otherwise=CLOSED_BY)
    )
    return answer(case_json(closed))


def _number(account: str, text: str) -> int:
    """Return the case's number. Raises `CaseNotFound` for what cannot be one."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(CASE_ID_MAX)) and 0 < int(text) <= CASE_ID_MAX:
        return int(text)
    raise CaseNotFound(f"account {account} has no case {text[:40]!r}")


@router.post("/exchanges/{exchange}/reconcile", response_model=ReconciledJson)
async def reconcile(account: Account, context: Ctx) -> Response:
    """Compare ledger, Temporal and venue now, and answer with what was found. Nothing at the venue is touched."""
    found = await context.client.reconcile(account, why="asked for over REST", timeout_s=RECONCILE_WAIT_S)
    return answer(reconciled_json(found))
