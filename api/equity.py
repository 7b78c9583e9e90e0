"""What an account is worth over time, over REST."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from api.context import Account, Ctx, answer
from api.numbers import write_time
from api.schemas import Number
from domain.valuation import Equity

router = APIRouter(tags=["account"])


class EquityJson(BaseModel):
    """An account's worth in one minute, in the risk currency. `null`: something in it has no known price."""

    exchange: str
    mode: str
    taken_at: datetime
    currency: str
    equity: Number | None = Field(description="the balances, each at its market")
    realized: Number | None = Field(description="profit of our own fills so far")
    unrealized: Number | None = Field(description="profit that closing our positions at the market would realize")
    unpriced: list[str] = Field(description="assets that no price is known of")


Limit = Annotated[int, Query(ge=1, le=1500)]
Before = Annotated[AwareDatetime | None, Query(description="time of the last snapshot of the page before")]


@router.get("/equity/{exchange}", response_model=list[EquityJson])
async def equity(
    request: Request, account: Account, context: Ctx, limit: Limit = 100, before: Before = None
) -> Response:
    """Return the account's equity, newest first, one snapshot a minute. The `Link` header leads to the next page."""
    mode = context.settings.mode_of(account)
    found = await context.accounting.equity(account, mode, limit=limit, before=before)
    headers = {}
    if len(found) == limit:
        following = request.url.include_query_params(before=write_time(found[-1].taken_at))
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return answer([equity_json(snapshot) for snapshot in found], headers=headers)


def equity_json(snapshot: Equity) -> EquityJson:
    """Return a snapshot in the wire's words."""
    return EquityJson(
        exchange=snapshot.account,
        mode=snapshot.mode,
        taken_at=snapshot.taken_at,
        currency=snapshot.currency,
        equity=snapshot.equity,
        realized=snapshot.realized,
        unrealized=snapshot.unrealized,
        unpriced=list(snapshot.unpriced),
    )
