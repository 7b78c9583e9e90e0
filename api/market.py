"""Exchanges and prices."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.callers import By
from api.context import Account, Context, Ctx, answer
from api.schemas import ExchangeStatusJson, TickerJson
from domain.errors import ExecutionError

router = APIRouter(tags=["market"])
STATUS_TIMEOUT_S = 5.0
LEDGER_TIMEOUT_S = 1.0


class ExchangesJson(BaseModel):
    """The configured accounts, and whether all of them trade on paper whatever their own mode says."""

    available_exchanges: list[str]
    dry_run_mode: bool


@router.get("/exchanges", response_model=ExchangesJson)
async def exchanges(context: Ctx, caller: By) -> Response:
    """Name the configured accounts: what every other call takes as `exchange`."""
    settings = context.settings
    usable = [account for account in settings.accounts if caller.may_use(account)]
    return answer(ExchangesJson(available_exchanges=usable, dry_run_mode=settings.dry_run_mode))


@router.get("/exchanges/{exchange}/status", response_model=ExchangeStatusJson)
async def exchange_status(account: Account, context: Ctx) -> Response:
    """Say how the account's venue answers."""
    status, reconciled_at = await asyncio.gather(
        context.venues.status(account, timeout_s=STATUS_TIMEOUT_S), _reconciled_at(account, context)
    )
    return answer(
        ExchangeStatusJson(
            name=account,
            exchange=context.settings.accounts[account].exchange,
            status="ok" if status.reachable else "unavailable",
            timestamp=datetime.now(UTC),
            mode=context.settings.mode_of(account),
            reconciled_at=reconciled_at,
            **status.model_dump(exclude={"reachable"}),
        )
    )


async def _reconciled_at(account: str, context: Context) -> datetime | None:
    """Return when the account was last compared; how its venue answers is told also without the ledger."""
    try:
        return await asyncio.wait_for(context.reader.reconciled_at(account), LEDGER_TIMEOUT_S)
    except (ExecutionError, TimeoutError):
        return None


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
