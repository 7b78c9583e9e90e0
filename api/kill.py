"""The kill switch and the dead-man switch over REST. They need the ledger alone: Temporal and venues may be away."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError, WithJsonSchema

from api.callers import By as Who
from api.callers import check_scope
from api.context import Context, Ctx, answer, json_body
from api.errors import WrongFields
from api.numbers import JsonNumber
from api.problems import as_numbers, wrong_fields
from api.schemas import Number, parse_body
from domain.comparison import CASE_ID_MAX
from domain.decisions import Because
from domain.kill import (
    DEADMAN_TIMEOUT_MAX_S,
    ArmDeadman,
    ConfirmCode,
    Deadman,
    Engaged,
    Engagement,
    KillEvent,
    KillEventKind,
    LiftAsked,
    Switch,
)
from domain.limits import ScopeKind, ScopeName
from domain.order import Label

router = APIRouter(prefix="/risk", tags=["kill switch"])

BY: Final = "rest"


def _whole(value: object) -> object:
    number = value.exact() if isinstance(value, JsonNumber) else None
    if number is None or number != number.to_integral_value():
        raise ValueError("must be a whole number of seconds")
    return int(number)


Seconds = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=DEADMAN_TIMEOUT_MAX_S),
                    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": DEADMAN_TIMEOUT_MAX_S})]  # fmt: skip
LiftableScope = Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,80}$")]
"""A scope to lift: any name, for the configuration's switch is named too, and refused with its reason."""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KillBody(_Body):
    """Body of `POST /risk/kill`."""

    scope: ScopeName = Field(description="firm, account:NAME, strategy:NAME, symbol:BTC/USDT or key:NAME")
    reason: Because = Field(description="why, for the record")
    cancel_orders: StrictBool | None = Field(default=None, description="cancel every open order of the scope")
    flatten: StrictBool | None = Field(default=None, description="then close its positions; not for strategy and key")
    by: Label | None = Field(default=None, description="who does it; `rest` if left out")


class LiftBody(_Body):
    """Body of `POST /risk/kill/lift`: first with `because`, then with the code that this answered."""

    scope: LiftableScope
    because: Because | None = Field(default=None, description="first step: why, for the record")
    confirm: ConfirmCode | None = Field(default=None, description="second step: the code of the first one's answer")
    by: Label | None = Field(default=None, description="who does it; `rest` if left out")


class DeadmanBody(_Body):
    """Body of `POST /risk/deadman`."""

    scope: ScopeName = Field(description="whose orders are canceled: account:NAME, strategy:NAME, key:NAME, …")
    timeout_s: Seconds = Field(description="seconds without a heartbeat after which they are")
    stop_admission: StrictBool | None = Field(default=None, description="pull the scope's kill switch too")
    by: Label | None = Field(default=None, description="who asks; `rest` if left out")


class DeadmanScopeBody(_Body):
    """Body of `POST /risk/deadman/beat` and `/risk/deadman/disarm`."""

    scope: ScopeName
    by: Label | None = None


class SwitchJson(BaseModel):
    """A switch that is on."""

    scope: str
    code: str
    reason: str
    engaged_by: str
    engaged_at: datetime
    cancel_orders: bool
    flatten: bool
    lift_asked_at: datetime | None
    lift_asked_by: str | None


class EngagedJson(SwitchJson):
    """What came of pulling it: nothing of the scope can reach the venue any more."""

    fresh: bool = Field(description="false: it was on before")
    in_flight: int = Field(description="requests that were on their way; all of them have left before this answer")
    unanswered: int = Field(description="those of them of which it is not known what came; their orders are in doubt")


class LiftAskedJson(BaseModel):
    """The first step of lifting: repeat `confirm` within the time."""

    scope: str
    confirm: str
    valid_until: datetime


class KillEventJson(BaseModel):
    """One entry of the history."""

    id: int
    scope: str
    kind: KillEventKind
    by: str
    why: str
    numbers: dict[str, Number | str]
    at: datetime


class DeadmanJson(BaseModel):
    """A dead-man switch; `fired_at` is `null` while heartbeats come."""

    scope: str
    timeout_s: int
    stop_admission: bool
    armed_by: str
    armed_at: datetime
    beat_at: datetime
    fired_at: datetime | None


def switch_json(switch: Switch) -> SwitchJson:
    """Return a switch in the wire's words."""
    return SwitchJson(**_figures(switch, SwitchJson))


def engaged_json(engaged: Engaged) -> EngagedJson:
    """Return what came of engaging in the wire's words."""
    told = {"fresh": engaged.fresh, "in_flight": engaged.in_flight, "unanswered": engaged.unanswered}
    return EngagedJson(**_figures(engaged.switch, SwitchJson), **told)


def event_json(event: KillEvent) -> KillEventJson:
    """Return an entry of the history in the wire's words."""
    return KillEventJson(
        id=event.event_id,
        scope=event.scope,
        kind=event.kind,
        by=event.by,
        why=event.why,
        numbers=dict(as_numbers(event.numbers)),
        at=event.at,
    )


def _figures(value: Switch | Deadman | LiftAsked, shape: type[BaseModel]) -> Mapping[str, Any]:
    return {name: getattr(value, name) for name in shape.model_fields}


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


@router.post("/kill", response_model=EngagedJson, openapi_extra=_body_of(KillBody))
async def engage(request: Request, context: Ctx, caller: Who) -> Response:
    """Pull the kill switch of a scope: no order of it is admitted or sent from this answer on. Cancels always pass.

    The answer waits for requests that were on their way, at most seven seconds. Repeated, it only adds what is asked.
    """
    body = parse_body(KillBody, await json_body(request))
    check_scope(caller, body.scope)
    _check_account(body.scope, context)
    try:
        asked = Engagement(
            scope=body.scope,
            reason=body.reason,
            by=caller.signs(body.by, otherwise=BY),
            cancel_orders=bool(body.cancel_orders),
            flatten=bool(body.flatten),
        )
    except ValidationError as error:
        raise wrong_fields(error.errors()) from None
    return answer(engaged_json(await context.switches.engage(asked)))


@router.get("/kill", response_model=list[SwitchJson])
async def list_switches(context: Ctx) -> Response:
    """Return the switches that are on."""
    return answer([switch_json(switch) for switch in await context.switches.switches()])


Limit = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[int | None, Query(ge=1, le=CASE_ID_MAX, description="id of the last entry of the page before")]


@router.get("/kill/history", response_model=list[KillEventJson])
async def history(request: Request, context: Ctx, limit: Limit = 100, before: Before = None) -> Response:
    """Return what happened to the switches, newest first. The `Link` header leads to the next page."""
    events = await context.switches.events(limit=limit, before=before)
    headers = {}
    if len(events) == limit:
        following = request.url.include_query_params(before=events[-1].event_id)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return answer([event_json(event) for event in events], headers=headers)


@router.post(
    "/kill/lift",
    response_model=KillEventJson,
    responses={
        202: {"description": "Asked for: repeat the code within the time", "model": LiftAskedJson},
        404: {"description": "It is not on"},
        409: {"description": "Not confirmed, or the configuration's"},
    },
    openapi_extra=_body_of(LiftBody),
)
async def lift(request: Request, context: Ctx, caller: Who) -> Response:
    """Lift a kill switch, in two steps: say why, and repeat the code that this answers within five minutes."""
    body = parse_body(LiftBody, await json_body(request))
    if (body.because is None) == (body.confirm is None):
        raise WrongFields([{"field": "body", "message": "names either because (first step) or confirm (second step)"}])
    if body.confirm is not None:
        lifted = await context.switches.lift(body.scope, confirm=body.confirm, by=caller.signs(body.by, otherwise=BY))
        return answer(event_json(lifted))
    asked = await context.switches.ask_lift(
        body.scope, because=body.because or "", by=caller.signs(body.by, otherwise=BY)
    )
    return answer(LiftAskedJson(**_figures(asked, LiftAskedJson)), status=202)


@router.post("/deadman", response_model=DeadmanJson, openapi_extra=_body_of(DeadmanBody))
async def arm(request: Request, context: Ctx, caller: Who) -> Response:
    """Arm a dead-man switch, or change one: without a heartbeat in time, the scope's working orders are canceled."""
    body = parse_body(DeadmanBody, await json_body(request))
    check_scope(caller, body.scope)
    _check_account(body.scope, context)
    asked = ArmDeadman(
        scope=body.scope,
        timeout_s=body.timeout_s,
        stop_admission=bool(body.stop_admission),
        by=caller.signs(body.by, otherwise=BY),
    )
    return _deadman(await context.switches.arm(asked))


@router.get("/deadman", response_model=list[DeadmanJson])
async def list_deadmen(context: Ctx) -> Response:
    """Return the dead-man switches."""
    return answer([DeadmanJson(**_figures(deadman, DeadmanJson)) for deadman in await context.switches.deadmen()])


@router.post(
    "/deadman/beat",
    response_model=DeadmanJson,
    responses={404: {"description": "None is armed"}},
    openapi_extra=_body_of(DeadmanScopeBody),
)
async def beat(request: Request, context: Ctx, caller: Who) -> Response:
    """Send a heartbeat; one that had fired is armed again."""
    body = parse_body(DeadmanScopeBody, await json_body(request))
    check_scope(caller, body.scope)
    return _deadman(await context.switches.beat(body.scope))


@router.post(
    "/deadman/disarm",
    response_model=DeadmanJson,
    responses={404: {"description": "None is armed"}},
    openapi_extra=_body_of(DeadmanScopeBody),
)
async def disarm(request: Request, context: Ctx, caller: Who) -> Response:
    """Take a dead-man switch away."""
    body = parse_body(DeadmanScopeBody, await json_body(request))
    check_scope(caller, body.scope)
    return _deadman(await context.switches.disarm(body.scope, by=caller.signs(body.by, otherwise=BY)))


def _check_account(scope: str, context: Context) -> None:
    """Raise `UnknownAccount` for an account that is not configured: a switch of a wrong name would stop nothing."""
    kind, _, name = scope.partition(":")
    if kind == ScopeKind.ACCOUNT:
        context.venues.check_account(name)


def _deadman(deadman: Deadman) -> Response:
    return answer(DeadmanJson(**_figures(deadman, DeadmanJson)))
