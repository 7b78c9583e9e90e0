"""The agents: they place, cancel and amend over REST, and repeat with the same key whatever is not answered."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx2

from api.numbers import write_json
from domain.identifiers import derive_order_id
from tests.campaign.processes.schedule import Ticket
from tests.faults.floor import Floor

PATIENCE_S = 240
"""How long a caller repeats itself before it counts as never answered: above every outage of a run."""
PAUSE_S = 0.3
AT_ONCE = 64


class Desk:
    """All agents of a run. What went wrong at this side is in `problems`; `keys` names the order of each ticket."""

    def __init__(self, floor: Floor, load_s: float) -> None:
        self._floor = floor
        self._load_s = load_s
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._in_doubt: set[asyncio.Task[None]] = set()
        self.keys: dict[str, str] = {}
        self.problems: list[str] = []
        self.repeats = 0
        """Requests that were sent again because the answer was lost or said "not now"."""

    async def work(self, tickets: Sequence[Ticket]) -> None:
        """Place all tickets at their moments and see to each; returns when every caller has its answers."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for ticket in tickets:
                await asyncio.sleep(max(0.0, began + ticket.at * self._load_s - time.monotonic()))
                group.create_task(self._see_to(ticket))

    async def _see_to(self, ticket: Ticket) -> None:
        async with self._gate:
            body = dict(ticket.body)
            if ticket.expires_in_s is not None:
                body["expires_at"] = (datetime.now(UTC) + timedelta(seconds=ticket.expires_in_s)).isoformat()
            answers = await asyncio.gather(*(self._place(ticket.key, body) for _ in range(2 if ticket.twice else 1)))
        ids = {answer for answer in answers if answer is not None}
        if ids != {derive_order_id("binanceus", ticket.key)}:
            self.problems.append(f"{ticket.key} was told the orders {sorted(ids)}")
            return
        order_id = self.keys[ticket.key] = ids.pop()
        if ticket.then:
            await asyncio.sleep(ticket.after_s)
            if ticket.when_known:
                await self._floor.until(order_id, _is_known, within_s=PATIENCE_S)
            await (self.cancel(order_id) if ticket.then == "cancel" else self._amend(order_id, ticket))

    async def _place(self, key: str, body: dict[str, Any]) -> str | None:
        told = await self._ask("POST", "/orders", body, {"Idempotency-Key": key})
        if told is None:
            return None
        order = told.get("order", told)
        if "id" not in order:
            self.problems.append(f"{key} was refused and not recorded: {told}")
            return None
        return str(order["id"])

    async def cancel(self, order_id: str) -> None:
        """Ask for a cancel until it is answered; that the order has ended is an answer too."""
        await self._ask("DELETE", f"/orders/binanceus/{order_id}")

    async def _amend(self, order_id: str, ticket: Ticket) -> None:
        better = Decimal("1.0005") if ticket.body["side"] == "buy" else Decimal("0.9995")
        price = (ticket.body["price"] * better).quantize(Decimal("0.01"))
        figures = {"amount": ticket.body["amount"] * 2, "price": price}
        await self._ask("PATCH", f"/orders/binanceus/{order_id}", figures)

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | None:
        """Send until there is an answer that stands; `None` when there was none within the patience."""
        deadline = time.monotonic() + PATIENCE_S
        content = write_json(body) if body is not None else None
        while time.monotonic() < deadline:
            try:
                answer = await self._floor.rest.request(method, path, content=content, headers=headers)
                told = answer.json(parse_float=Decimal)
            except (httpx2.TransportError, ValueError):
                self.repeats += 1
                await asyncio.sleep(PAUSE_S)
                continue
            if answer.status_code < 500 or "order" in told:
                return dict(told)
            self.repeats += 1
            await asyncio.sleep(PAUSE_S)
        self.problems.append(f"{method} {path} was not answered within {PATIENCE_S} s")
        return None


def _is_known(order: dict[str, Any]) -> bool:
    return order["lifecycle"] not in ("INITIALIZED", "SUBMITTED", "IN_DOUBT")
