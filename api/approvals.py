"""Approvals over REST: orders that wait for a person, and the person's word."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.callers import By
from api.context import Account, Context, Ctx, answer, json_body
from api.problems import as_numbers, problem
from api.schemas import Number, OrderJson, order_json, parse_body
from domain.api_keys import Caller
from domain.approvals import Approval, ApprovalEnding, Fingerprint
from domain.decisions import Because
from domain.errors import FourEyes, NotHeld, OrderClosed, RequestError, TicketDiffers
from domain.order import Label, Order, OrderSide, OrderType, TradingMode
from workflows.messages import ApprovalAnswer
from workflows.order_display import is_undecided

router = APIRouter(tags=["approvals"])

BY: Final = "rest"
"""Says by which way a word came; it approves nothing, for it is nobody's name."""
APPROVAL_ID_MAX: Final = 2**63 - 1
_IS_OPEN: Final = {"open": True, "decided": False}


class ApprovalJson(BaseModel):
    """An approval that was asked for, and what came of it; `decision` and what follows are `null` while it is open."""

    id: int
    exchange: str
    order_id: str
    ticket: str = Field(description="what is asked for, in one line")
    symbol: str
    side: OrderSide
    order_type: OrderType
    amount: Number | None = Field(description="null where the amount was asked for in quote units")
    quote_amount: Number | None
    price: Number | None
    stop_price: Number | None
    mode: TradingMode
    fingerprint: str = Field(description="names the exact ticket; sent along, the approval counts for no other")
    code: str
    text: str
    numbers: dict[str, Number | str]
    asked_by: str | None
    asked_at: datetime
    expires_at: datetime
    decision: ApprovalEnding | None
    decided_by: str | None
    decided_at: datetime | None
    because: str | None


class WordBody(BaseModel):
    """Body of `POST /orders/{exchange}/{id}/approve` and `…/reject`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    because: Because = Field(description="why, for the record")
    by: Label | None = Field(default=None, description="who says so; an approval needs a name, and not the asker's")
    fingerprint: Fingerprint | None = Field(default=None, description="the ticket that is meant")


class ApprovedJson(OrderJson):
    """An order after a person's word, and what came of it."""

    decision: ApprovalEnding = Field(
        description="approved: admitted; denied: approved, and the limits hold no more; rejected; expired: too late; "
        "known_before: nothing was left to decide"
    )
    decision_told: str = Field(description="the same in words, with the numbers")


def approval_json(approval: Approval) -> ApprovalJson:
    """Return the approval in the wire's words."""
    ticket, reason = approval.ticket, approval.reason
    return ApprovalJson(
        id=approval.approval_id,
        exchange=approval.account,
        order_id=approval.order_id,
        ticket=ticket.summary(),
        symbol=ticket.symbol,
        side=ticket.side,
        order_type=ticket.order_type,
        amount=ticket.quantity,
        quote_amount=ticket.quote_amount,
        price=ticket.price,
        stop_price=ticket.trigger_price,
        mode=approval.mode,
        fingerprint=approval.fingerprint,
        code=reason.code,
        text=reason.text,
        numbers=dict(as_numbers(reason.numbers)),
        asked_by=approval.asked_by,
        asked_at=approval.asked_at,
        expires_at=approval.expires_at,
        decision=approval.decision,
        decided_by=approval.decided_by,
        decided_at=approval.decided_at,
        because=approval.because,
    )


def approved_json(order: Order, answered: ApprovalAnswer) -> ApprovedJson:
    """Return an order after a person's word in the wire's words."""
    return ApprovedJson.model_construct(
        **dict(order_json(order)), decision=answered.decision, decision_told=answered.told
    )


State = Annotated[
    Literal["open", "decided", "all"], Query(alias="status", description="open: the order waits; decided: it does not")
]
Limit = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[
    int | None, Query(ge=1, le=APPROVAL_ID_MAX, description="id of the last approval of the page before")
]
OneOrAll = Annotated[str | None, Query(description="name of an account; all if left out")]


@router.get("/approvals", response_model=list[ApprovalJson])
async def list_approvals(
    request: Request,
    context: Ctx,
    caller: By,
    exchange: OneOrAll = None,
    state: State = "open",
    limit: Limit = 100,
    before: Before = None,
) -> Response:
    """Return approvals, newest first: those that a person is asked for now, unless others are named."""
    if exchange is not None:
        caller.check_account(exchange)
        accounts = [context.venues.check_account(exchange)]
    else:
        accounts = [account for account in context.settings.accounts if caller.may_use(account)]
    found = await context.approvals.listed(accounts, is_open=_IS_OPEN.get(state), limit=limit, before=before)
    headers = {}
    if len(found) == limit:
        following = request.url.include_query_params(before=found[-1].approval_id)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return answer([approval_json(approval) for approval in found], headers=headers)


_DECIDED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": ApprovedJson, "description": "What came of the word, and of the order after it"},
    202: {"model": ApprovedJson, "description": "Approved; the venue's answer is still to come"},
    403: {"description": "Four eyes: the asker, or nobody by name, cannot approve"},
    409: {"description": "The order is not held, or it is another ticket; the order is under `order`"},
    503: {"description": "Price and limits cannot be checked now: the order is held as before"},
}
_BODY: Final = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": WordBody.model_json_schema()}}}
}


@router.post("/orders/{exchange}/{order_id}/approve", responses=_DECIDED, response_model=None, openapi_extra=_BODY)
async def approve_order(request: Request, account: Account, order_id: str, context: Ctx, caller: By) -> Response:
    """Approve a held order. Price and limits are checked once more: it is placed, or denied with the numbers."""
    body = parse_body(WordBody, await json_body(request))
    try:
        answered = await context.client.approve_order(
            order_id,
            account=account,
            by=_approver(caller, body, context),
            because=body.because,
            fingerprint=body.fingerprint,
        )
    except (OrderClosed, NotHeld, FourEyes, TicketDiffers) as error:
        return await _unchanged(error, account, order_id, context)
    return await _decided(answered, account, order_id, context)


@router.post("/orders/{exchange}/{order_id}/reject", responses=_DECIDED, response_model=None, openapi_extra=_BODY)
async def reject_order(request: Request, account: Account, order_id: str, context: Ctx, caller: By) -> Response:
    """Reject a held order: it ends, and nothing is sent. Who asked for it may do so too."""
    body = parse_body(WordBody, await json_body(request))
    try:
        by = caller.signs(body.by, otherwise=BY)
        answered = await context.client.reject_order(order_id, account=account, by=by, because=body.because)
    except (OrderClosed, NotHeld) as error:
        return await _unchanged(error, account, order_id, context)
    return await _decided(answered, account, order_id, context)


def _approver(caller: Caller, body: WordBody, context: Context) -> str:
    """Return who approves: the key's name. What a caller says counts only where no key has a name (four eyes)."""
    return caller.signs(None if context.settings.api_keys_required else body.by, otherwise=BY)


async def _decided(answered: ApprovalAnswer, account: str, order_id: str, context: Context) -> Response:
    order = answered.view.order
    assert order is not None, "an order that was decided on is recorded"
    return answer(
        approved_json(order, answered),
        status=202 if is_undecided(order) else 200,
    )


async def _unchanged(error: RequestError, account: str, order_id: str, context: Context) -> Response:
    order = (await context.client.get_order(order_id, account=account)).order
    shown = order_json(order) if order is not None else None
    return problem(error, order=shown, instance=f"/orders/{account}/{order_id}")
