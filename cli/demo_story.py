"""What the demo does, order by order, and what it expects of each. The market is held still, so it ends alike."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import httpx2

from api.numbers import write_json
from cli.demo_screen import Row, Screen
from domain.identifiers import derive_order_id

if TYPE_CHECKING:
    from embedded.stack import EmbeddedStack

Tell = Callable[["EmbeddedStack", str], Awaitable[bool]]
PRICE: Final = "61250"
STEP_WITHIN_S: Final = 45
FINAL: Final = ("FILLED", "CANCELED", "DENIED", "EXPIRED", "REJECTED")


async def tell(stack: "EmbeddedStack", key: str) -> bool:
    """Place the orders, show their lives, and return whether each ended as expected."""
    with Screen() as screen:
        async with (
            httpx2.AsyncClient(base_url=stack.ready["api"], headers={"X-API-Key": key}, timeout=60) as rest,
            httpx2.AsyncClient(base_url=stack.ready["simulator_control"], timeout=10) as venue,
        ):
            story = Story(stack, rest, venue, screen)
            await venue.post("/market/BTCUSDT", json={"price": PRICE, "frozen": True})
            rows = [
                await story.market_order(),
                await story.filled_in_parts(),
                await story.canceled(),
                await story.denied(),
                await story.survives_a_crash(),
            ]
            proven = await story.compare_with_the_venue()
    wrong = [f"{row.title} ended {row.status}, not {row.expected}" for row in rows if row.status != row.expected]
    for line in wrong:
        screen.say(f"NOT as expected: {line}")
    last = rows[-1].order
    screen.say(f"In the Web UI: {stack.ready['ui']}/namespaces/default/workflows/{last.get('workflow_id')}")
    return not wrong and proven


class Story:
    """The orders, one method each."""

    def __init__(
        self, stack: "EmbeddedStack", rest: httpx2.AsyncClient, venue: httpx2.AsyncClient, screen: Screen
    ) -> None:
        self._stack = stack
        self._rest = rest
        self._venue = venue
        self._screen = screen
        self._run = secrets.token_hex(4)  # a second demo in the same folder asks for orders of its own

    async def market_order(self) -> Row:
        """Fills at once."""
        row = self._screen.add(Row("buy 0.05 BTC, market", "FILLED"))
        await self._place(row, "market", order_type="market", amount=Decimal("0.05"))
        return await self._until_final(row)

    async def filled_in_parts(self) -> Row:
        """Rests, and the market comes to it three times."""
        row = self._screen.add(Row("buy 0.3 BTC, limit 61240", "FILLED"))
        await self._place(row, "parts", order_type="limit", amount=Decimal("0.3"), price=Decimal("61240"))
        for number, part in enumerate(("0.1", "0.1", "0.1")):
            await self._fill(row, part)
            await self._until_filled(row, Decimal(part) * (number + 1))
        return await self._until_final(row)

    async def canceled(self) -> Row:
        """Rests far away, and is canceled."""
        row = self._screen.add(Row("sell 0.1 BTC, limit 65000", "CANCELED"))
        await self._place(row, "rests", side="sell", order_type="limit", amount=Decimal("0.1"), price=Decimal("65000"))
        answer = await self._rest.delete(f"/orders/binanceus/{row.order['id']}")
        self._take(row, _read(answer), note="canceled at the venue on request")
        return await self._until_final(row)

    async def denied(self) -> Row:
        """Is worth less than the venue takes: no venue ever hears of it."""
        row = self._screen.add(Row("buy 0.00005 BTC, limit 60000", "DENIED"))
        await self._place(row, "small", order_type="limit", amount=Decimal("0.00005"), price=Decimal("60000"))
        return row

    async def survives_a_crash(self) -> Row:
        """Is on its way to the venue when the worker is killed with -9."""
        row = self._screen.add(Row("buy 0.2 BTC, limit 61240", "FILLED"))
        order_id = derive_order_id("binanceus", f"demo-{self._run}-crash")
        await self._venue.post(
            "/faults", json={"kind": "delay", "method": "POST", "path": "/order", "seconds": 1, "times": 1}
        )
        placing = asyncio.create_task(
            self._place(row, "crash", order_type="limit", amount=Decimal("0.2"), price=Decimal("61240"))
        )
        await self._until(lambda: self._venue_heard_of(order_id), "the order does not reach the venue")
        worker = self._stack.ready["pids"]["worker"][0]
        self._stack.part("worker").kill()
        row.note = f"worker {worker} killed with -9 while the order was on the wire"
        self._screen.changed(row)
        await placing
        await self._follow(row, lambda order: order["lifecycle"] == "ACCEPTED")
        row.note = "a new worker looked it up at the venue instead of sending it again"
        self._screen.changed(row)
        await self._fill(row, "0.2")
        return await self._until_final(row)

    async def compare_with_the_venue(self) -> bool:
        """Ask the venue's own ledger how often each order was placed, and what it traded."""
        per_client_id = (await self._venue.get("/client-orders")).json()
        fills = (await self._venue.get("/fills")).json()
        ours = _read(await self._rest.get("/orders/binanceus?limit=500"))
        sent = [order for order in ours if order["client_order_id"] is not None]
        once = all(per_client_id.get(order["client_order_id"]) == 1 for order in sent)
        equal = all(
            Decimal(order["filled"])
            == sum((Decimal(f["qty"]) for f in fills if f["clientOrderId"] == order["client_order_id"]), Decimal(0))
            for order in sent
        )
        self._screen.say(
            f"The venue's own ledger: {len(per_client_id)} orders for {len(sent)} tickets sent, "
            f"{'each exactly once' if once else 'NOT each once'}; fills {'equal' if equal else 'DIFFER'} on both sides."
        )
        return once and equal and len(per_client_id) == len(sent)

    # Small pieces of the above.

    async def _place(self, row: Row, name: str, **fields: Any) -> None:
        body = {"symbol": "BTC/USDT", "side": "buy", **fields}
        headers = {"Idempotency-Key": f"demo-{self._run}-{name}", "Content-Type": "application/json"}
        answer = await self._rest.post("/orders", content=write_json(body), headers=headers)
        told = _read(answer)
        order = told.get("order", told)
        if "lifecycle" not in order:
            raise RuntimeError(f"{row.title}: {answer.status_code} {told.get('detail')}")
        reason = order.get("reason")
        self._take(row, order, note=reason["text"] if reason else row.note)

    def _take(self, row: Row, order: dict[str, Any], *, note: str | None = None) -> None:
        row.order = order
        if note is not None:
            row.note = note
        self._screen.changed(row)

    async def _fill(self, row: Row, quantity: str) -> None:
        fill = {"client_order_id": row.order["client_order_id"], "quantity": quantity}
        answer = await self._venue.post("/market/BTCUSDT", json={"fill": fill})
        answer.raise_for_status()

    async def _until_final(self, row: Row) -> Row:
        await self._follow(row, lambda order: order["lifecycle"] in FINAL)
        return row

    async def _until_filled(self, row: Row, quantity: Decimal) -> None:
        await self._follow(row, lambda order: Decimal(order["filled"]) >= quantity)

    async def _follow(self, row: Row, reached: Callable[[dict[str, Any]], bool]) -> None:
        async def looked() -> bool:
            answer = await self._rest.get(f"/orders/binanceus/{row.order['id']}")
            self._take(row, _read(answer))
            return reached(dict(row.order))

        await self._until(looked, f"{row.title} does not move on from {row.status}")

    async def _venue_heard_of(self, client_order_id: str) -> bool:
        requests = (await self._venue.get("/requests")).json()
        return any(entry.get("newClientOrderId") == client_order_id for entry in requests)

    async def _until(self, condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        deadline = time.monotonic() + STEP_WITHIN_S
        while not await condition():
            if time.monotonic() > deadline:
                raise RuntimeError(otherwise)
            await asyncio.sleep(0.1)


def _read(answer: httpx2.Response) -> Any:
    return answer.json(parse_float=Decimal)
