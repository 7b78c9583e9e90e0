"""Exchanges and prices."""

from typing import Any

from fastapi import APIRouter, Response

from api.context import Account, Ctx, answer
from api.schemas import ExchangeStatusJson, TickerJson

router = APIRouter(tags=["market"])
STATUS_TIMEOUT_S = 5.0


@router.get("/exchanges", response_model=list[str])
async def exchanges(context: Ctx) -> Response:
    """Name the configured accounts: what every other call takes as `exchange`."""
    return answer(list(context.settings.accounts))


@router.get("/exchanges/{exchange}/status", response_model=ExchangeStatusJson)
async def exchange_status(account: Account, context: Ctx) -> Response:
    """Say how the account's venue answers."""
    status = await context.venues.status(account, timeout_s=STATUS_TIMEOUT_S)
    return answer(
        ExchangeStatusJson(
            name=account,
            exchange=context.settings.accounts[account].exchange,
            status="ok" if status.reachable else "unavailable",
            mode=context.settings.mode_of(account),
            **status.model_dump(exclude={"reachable"}),
        )
    )


_TICKER: dict[int | str, dict[str, Any]] = {404: {"description": "No such exchange or symbol; names near it"}}


@router.get("/ticker/{exchange}/{symbol:path}", response_model=TickerJson, responses=_TICKER)
async def ticker(account: Account, symbol: str, context: Ctx) -> Response:
    """Return best prices of a symbol, about a second old at most."""
    await context.venues.check_symbol(account, symbol)
    found = await context.venues.ticker(account, symbol)
    return answer(
        TickerJson(
            exchange=account,
            symbol=found.symbol,
            bid=found.bid,
            ask=found.ask,
            last=found.last,
            volume=found.base_volume,
            timestamp=found.ts_event,
        )
    )
