"""Records for tax and compliance over REST: a year of one account, streamed row by row."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from api.context import Account, Context, Ctx
from api.numbers import write_json
from domain.lots import Method
from domain.order import TradingMode
from domain.records import Gains, RecordKind, Row, fee_row, fill_row, order_row, year_of

router = APIRouter(tags=["reports"])

Year = Annotated[int, Query(ge=2000, le=2100, description="calendar year, UTC")]
Mode = Annotated[TradingMode | None, Query(description="the account's mode if left out; modes are never mixed")]
ByMethod = Annotated[Method, Query(alias="method", description="cost of what is disposed of, for `gains`")]


@router.get("/reports/{kind}/{exchange}", response_model=list[dict[str, object]])
async def report(
    kind: RecordKind, account: Account, context: Ctx, year: Year, method: ByMethod = Method.FIFO, mode: Mode = None
) -> Response:
    """Return a year's fills, gains, fees or orders as a bare array, one row a line, numbers as text.

    Each row names the trades and the order that it comes from. Times are the venue's; for `orders`, when it was asked
    for. An answer that breaks off is no record: a client must read it to the closing bracket.
    """
    pages = _pages(context, kind, account, mode or context.settings.mode_of(account), year, method)
    first = await anext(pages, None)  # a ledger that does not answer is told by a status, before anything is sent
    return StreamingResponse(_array(first, pages), media_type="application/json")


async def _pages(
    context: Context, kind: RecordKind, account: str, mode: TradingMode, year: int, method: Method
) -> AsyncIterator[Sequence[Row]]:
    since, until = year_of(year)
    if kind is RecordKind.ORDERS:
        async for records in context.records.orders(account, mode, since=since, until=until):
            yield [order_row(record) for record in records]
        return
    gains = Gains(method, since=since)
    begin = None if kind is RecordKind.GAINS else since  # lots are made of all that was traded before
    async for fills in context.records.fills(account, mode, since=begin, until=until):
        if kind is RecordKind.GAINS:
            yield list(gains.rows(fills))
        else:
            yield [fill_row(fill) if kind is RecordKind.FILLS else fee_row(fill) for fill in fills]


async def _array(first: Sequence[Row] | None, pages: AsyncIterator[Sequence[Row]]) -> AsyncIterator[bytes]:
    """Write the pages as they come, a page at a time."""
    before = b"[\n"
    page = first
    while page is not None:
        if page:
            yield before + b",\n".join(write_json(row) for row in page)
            before = b",\n"
        page = await anext(pages, None)
    yield b"\n]\n" if before == b",\n" else b"[]\n"
