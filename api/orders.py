"""Orders over REST: place, read, cancel, amend."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from api.callers import By
from api.context import Account, Context, Ctx, answer, json_body
from api.errors import WrongFields
from api.observing import note_order
from api.problems import as_numbers, problem, problem_response
from api.schemas import (
    AmendBody,
    OrderBody,
    OrderJson,
    ResolveBody,
    ResolvedJson,
    order_json,
    parse_body,
    resolved_json,
)
from api.story import event_json, tell
from domain.api_keys import Caller
from domain.denials import DENIALS
from domain.errors import (
    DecisionContradicted,
    NotAmendable,
    NotInDoubt,
    OrderClosed,
    RequestError,
    UnknownAccount,
    UnknownSymbol,
)
from domain.events import Reason
from domain.identifiers import ORDER_ID
from domain.instrument import Instrument, normalize
from domain.lifecycle import OrderStatus
from domain.numbers import SCALE
from domain.order import Order, OrderRequest, OrderTicket, OrderType
from starter.client import new_request
from workflows.messages import OrderView
from workflows.order_display import UNDECIDED, is_undecided

router = APIRouter(tags=["orders"])

VENUE_WAIT_S: Final = 30.0
FINAL_WAIT_S: Final = 60.0
REQUESTED_BY: Final = "rest"
_KEY_PATTERN: Final = r"^[\x21-\x7e]{1,255}$"
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_REFUSED: Final = (OrderStatus.DENIED, OrderStatus.REJECTED)
_FIELDS: Final = {
    "PRICE_MISSING": "price",
    "PRICE_SUPERFLUOUS": "price",
    "TRIGGER_PRICE_MISSING": "stop_price",
    "TRIGGER_PRICE_SUPERFLUOUS": "stop_price",
    "POST_ONLY_IMPOSSIBLE": "post_only",
    "TIME_IN_FORCE_IMPOSSIBLE": "time_in_force",
    "EXPIRES_AT_MISSING": "expires_at",
    "TRIGGER_BY_SUPERFLUOUS": "trigger_by",
    "QUOTE_AMOUNT_SUPERFLUOUS": "quote_amount",
}

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=_KEY_PATTERN,
        description="the same key and body are the same order, for ever; 1 to 255 visible ASCII characters",
    ),
]
Wait = Annotated[Literal["venue", "final"], Query(description="answer when the venue has answered, or at the end")]
WaitTime = Annotated[float | None, Query(gt=0, le=FINAL_WAIT_S, description="seconds to wait; 30, or 60 for the end")]


def _json_of(model: type[OrderBody | AmendBody | ResolveBody]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


_PLACED: dict[int | str, dict[str, Any]] = {
    201: {"model": OrderJson, "description": "Placed, whatever the venue made of it so far"},
    202: {"model": OrderJson, "description": "Not decided within the wait: pending, held or in doubt"},
    409: {"description": "The key was used for another ticket"},
    422: {"description": "Not readable, denied by us, or rejected by the venue; the recorded order is under `order`"},
    503: {"description": "Something that is needed does not answer"},
}


@router.post("/orders", status_code=201, responses=_PLACED, response_model=None, openapi_extra=_json_of(OrderBody))
async def place_order(
    request: Request, context: Ctx, caller: By, wait: Wait = "venue", timeout_s: WaitTime = None, key: Key = None
) -> Response:
    """Place an order. Answers when the venue has answered or, with `?wait=final`, when the order has ended."""
    body = parse_body(OrderBody, await json_body(request))
    try:
        account, ticket = await _checked(body, context, caller)
    except (UnknownAccount, UnknownSymbol) as error:
        return problem(error, status=HTTPStatus.UNPROCESSABLE_ENTITY, instance="/orders")
    order_request = new_request(ticket, account=account, idempotency_key=key, requested_by=_who(caller))
    note_order(request.scope, order_request, timed=wait == "venue" or ticket.order_type is OrderType.MARKET)
    limit_s = timeout_s or (FINAL_WAIT_S if wait == "final" else VENUE_WAIT_S)
    view = await context.client.place(order_request, wait=wait, timeout_s=limit_s)
    return _placed(view.order or _unrecorded(order_request, context))


async def _checked(body: OrderBody, context: Context, caller: Caller) -> tuple[str, OrderTicket]:
    """Refuse what can be refused before a workflow starts: account, symbol, and fields that contradict each other."""
    account = body.exchange if body.exchange is not None else context.settings.default_exchange
    caller.check_account(account)
    context.venues.check_account(account)
    await context.venues.check_symbol(account, body.symbol)
    ticket = body.ticket()
    base, _, quote = ticket.symbol.partition("/")
    anywhere = Instrument(symbol=ticket.symbol, base_asset=base, quote_asset=quote, tick_size=SCALE, step_size=SCALE)
    # The deadline is the workflow's to judge: a repeated request must find its order also when that has passed.
    found = normalize(ticket, anywhere, now=_LONG_AGO, quote_price=Decimal(1))
    if isinstance(found, Reason):
        told = {"field": _FIELDS.get(found.code, "body"), "code": found.code, "message": found.text}
        raise WrongFields([{**told, "numbers": as_numbers(found.numbers)}])
    return account, ticket


def _who(caller: Caller) -> str:
    """Return who asks, for the record: the key's name, which is the order's scope `key:NAME` of the risk gate too."""
    return caller.signs(None, otherwise=REQUESTED_BY)


def _unrecorded(request: OrderRequest, context: Context) -> Order:
    """Show an order of which nothing is recorded yet as it was asked for."""
    account = request.account
    return request.new_order(
        exchange=context.settings.accounts[account].exchange, mode=context.settings.mode_of(account)
    )


def _placed(order: Order) -> Response:
    headers = {"Location": f"/orders/{order.account}/{order.order_id}"}
    if order.status in _REFUSED:
        return _refused(order, headers)
    return answer(
        order_json(order),
        status=202 if is_undecided(order) else 201,
        headers=headers,
    )


def _refused(order: Order, headers: dict[str, str]) -> Response:
    reason = order.reason or Reason(code=order.status, text=f"the order is {order.status}")
    denial = DENIALS.get(reason.code)
    lacked_data = denial.unavailable if denial is not None else reason.code.endswith("_UNAVAILABLE")
    advice = denial.what_to_do if denial is not None else "Correct the order and place it again."
    what_to_do = f"{advice} A new order needs a new Idempotency-Key."
    if lacked_data:
        headers = {**headers, "Retry-After": "1"}
        what_to_do = "Nothing was sent. Place it again, with a new Idempotency-Key, when what is named answers."
    return problem_response(
        HTTPStatus.SERVICE_UNAVAILABLE if lacked_data else HTTPStatus.UNPROCESSABLE_ENTITY,
        code=reason.code,
        detail=reason.text,
        numbers=reason.numbers,
        what_to_do=what_to_do,
        instance=headers["Location"],
        headers=headers,
        fields={"order": order_json(order)},
    )


# Reading.

State = Annotated[
    Literal["open", "closed", "in_doubt", "all"],
    Query(alias="status", description="open: not ended, in doubt or not; closed: whatever has ended"),
]
Limit = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[
    str | None, Query(pattern=f"^{ORDER_ID.pattern}$", description="id of the last order of the page before")
]
Symbol = Annotated[str | None, Query(max_length=64)]
_IS_OPEN: Final = {"open": True, "closed": False}


@router.get("/orders/{exchange}", response_model=list[OrderJson])
async def list_orders(
    request: Request,
    account: Account,
    context: Ctx,
    state: State = "all",
    symbol: Symbol = None,
    limit: Limit = 100,
    before: Before = None,
) -> Response:
    """Return orders, newest first. The `Link` header leads to the next page."""
    orders = await context.reader.orders(
        account,
        is_open=_IS_OPEN.get(state),
        symbol=symbol,
        limit=limit,
        before=before,
        status=OrderStatus.IN_DOUBT if state == "in_doubt" else None,
    )
    headers = {}
    if len(orders) == limit:
        following = request.url.include_query_params(before=orders[-1].order_id)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return answer([order_json(order) for order in orders], headers=headers)


@router.get("/orders/{exchange}/{order_id}", response_model=OrderJson)
async def show_order(account: Account, order_id: str, context: Ctx) -> Response:
    """Return one order."""
    return answer(order_json(await _found(account, order_id, context)))


@router.get("/orders/{exchange}/{order_id}/events")
async def list_events(account: Account, order_id: str, context: Ctx) -> Response:
    """Return the order's facts, oldest first: each recorded once, never changed."""
    await _found(account, order_id, context)
    events = await context.reader.events(account, order_id)
    return answer([event_json(event) for event in events])


@router.get("/orders/{exchange}/{order_id}/explain")
async def explain_order(account: Account, order_id: str, context: Ctx) -> Response:
    """Tell the order's story in words, each sentence with the facts that it rests on."""
    order = await _found(account, order_id, context)
    settings = context.settings
    workflows = f"{settings.ui_address}/namespaces/{settings.temporal_namespace}/workflows"
    events = await context.reader.events(account, order_id)
    sent = await context.reader.attempts(account, order_id)
    return answer(tell(order, events, sent, workflows_url=workflows if settings.ui_address else None))


async def _found(account: str, order_id: str, context: Context) -> Order:
    """Return the order from the ledger or, while it is not there yet, as its workflow was started."""
    view = await context.client.get_order(order_id, account=account)
    if view.order is not None:
        return view.order
    return _unrecorded(await context.client.request_of(order_id, account=account), context)


# Changing.

_CHANGED: dict[int | str, dict[str, Any]] = {
    200: {"model": OrderJson, "description": "What came of it"},
    202: {"model": OrderJson, "description": "Asked for; the venue's final word is still to come"},
    409: {"description": "The order has ended, or cannot be changed now; it is under `order`"},
}


@router.delete("/orders/{exchange}/{order_id}", responses=_CHANGED, response_model=None)
async def cancel_order(account: Account, order_id: str, context: Ctx, caller: By) -> Response:
    """Cancel. The answer is what came of it: canceled, or filled before the cancel arrived."""
    try:
        view = await context.client.cancel_order(order_id, account=account, requested_by=_who(caller))
    except OrderClosed as error:
        return await _unchanged(error, account, order_id, context)
    return await _changed(view, account, context, is_over=lambda order: order.is_final)


@router.patch(
    "/orders/{exchange}/{order_id}", responses=_CHANGED, response_model=None, openapi_extra=_json_of(AmendBody)
)
async def amend_order(request: Request, account: Account, order_id: str, context: Ctx, caller: By) -> Response:
    """Change a resting limit order's total amount or price. What is filled already counts toward the new amount."""
    body = parse_body(AmendBody, await json_body(request))
    if body.amount is None and body.price is None:
        raise WrongFields([{"field": "body", "message": "names neither an amount nor a price"}])
    try:
        view = await context.client.amend_order(
            order_id, account=account, quantity=body.amount, price=body.price, requested_by=_who(caller)
        )
    except (OrderClosed, NotAmendable) as error:
        return await _unchanged(error, account, order_id, context)
    return await _changed(view, account, context, is_over=_is_settled)


_RESOLVED: dict[int | str, dict[str, Any]] = {
    200: {"model": ResolvedJson, "description": "What came of the decision, and of the order after it"},
    202: {"model": ResolvedJson, "description": "Decided; what follows is still to come"},
    409: {"description": "The order is not in doubt; it is under `order`"},
    422: {"description": "Not readable, or what the venue shows does not fit: both figures are under `numbers`"},
    503: {"description": "The venue gave no whole answer: nothing was changed"},
}


@router.post(
    "/orders/{exchange}/{order_id}/resolve",
    responses=_RESOLVED,
    response_model=None,
    openapi_extra=_json_of(ResolveBody),
)
async def resolve_order(request: Request, account: Account, order_id: str, context: Ctx, caller: By) -> Response:
    """Decide on an order in doubt: which order of the venue it is, or that it was never placed.

    The venue is asked before the decision counts: an order that it shows is adopted, whatever was decided.
    """
    body = parse_body(ResolveBody, await json_body(request))
    if (body.placed is not None) == bool(body.never_placed):
        raise WrongFields([{"field": "body", "message": "names either placed or never_placed: true"}])
    try:
        answered = await context.client.resolve_order(
            order_id,
            account=account,
            placed=body.placed,
            never_placed=bool(body.never_placed),
            because=body.because,
            requested_by=caller.signs(body.requested_by, otherwise=REQUESTED_BY),
        )
    except (OrderClosed, NotInDoubt, DecisionContradicted) as error:
        return await _unchanged(error, account, order_id, context)
    order = answered.view.order or await _found(account, order_id, context)
    resolved = resolved_json(order, ending=answered.ending, told=answered.told)
    return answer(resolved, status=202 if order.status in UNDECIDED else 200)


def _is_settled(order: Order) -> bool:
    running = order.amend_quantity is not None or order.status is OrderStatus.PENDING_CANCEL
    return order.is_final or not (running or order.status in UNDECIDED)


async def _changed(view: OrderView, account: str, context: Context, *, is_over: Callable[[Order], bool]) -> Response:
    order = view.order or await _found(account, view.order_id, context)
    return answer(order_json(order), status=200 if is_over(order) else 202)


async def _unchanged(error: RequestError, account: str, order_id: str, context: Context) -> Response:
    order = await _found(account, order_id, context)
    return problem(error, order=order_json(order), instance=f"/orders/{account}/{order_id}")
