"""How a request passes the venue's gate and meets faults, whatever protocol the venue speaks."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from simulator.faults import WHOLE_ANSWER, Fault
from simulator.refusals import Refusal
from simulator.venue import Venue

HTML = "<html><body><h1>{status}</h1></body></html>"
NOT_CARRIED_OUT = ("drop_before", "rate_limit", "maintenance")


class Call(ABC):
    """One request on its way through gate, faults and endpoint. A protocol fills in its own words."""

    def __init__(self, venue: Venue, request: web.Request, record: dict[str, Any]) -> None:
        self.venue = venue
        self.request = request
        self.record = record
        self.headers: dict[str, str] = {}

    @abstractmethod
    def admit(self) -> None:
        """Check keys, clock and rate. Raises `Refusal`."""

    @abstractmethod
    def admit_late(self) -> None:
        """Check what may have run out while the request was held up. Raises `Refusal`."""

    @abstractmethod
    def subject(self) -> Mapping[str, str]:
        """Return what faults are matched with, by the names that `Fault` knows."""

    @abstractmethod
    def content(self) -> Any:
        """Carry the request out and return the answer's body. Raises `Refusal`."""

    @abstractmethod
    def refused(self, refusal: Refusal) -> tuple[Any, int]:
        """Return body and status of the answer to a request that the venue refuses."""

    @abstractmethod
    def error(self, fault: Fault) -> tuple[Any, int]:
        """Return body and status of the answer for the fault `error`."""

    @abstractmethod
    def too_many(self, fault: Fault) -> Refusal:
        """Return the refusal of one who asks too often."""

    def success_headers(self) -> dict[str, str]:
        """Return further headers of a request that was carried out."""
        return {}

    async def answer(self) -> web.StreamResponse:
        """Carry the request out as far as the faults let it, and return what the client sees."""
        try:
            self.admit()
            fault = self.venue.faults.strike(
                self.record["method"], self.record["path"], dict(self.subject()), WHOLE_ANSWER
            )
            return self._carried_out() if fault is None else await self._struck(fault)
        except Refusal as refusal:
            content, status = self._noted(refusal)
            return self._response(content, status=status, headers=refusal.headers)

    def _carried_out(self) -> web.Response:
        content = self.content()
        self.record["accepted"] = True
        return self._response(content, headers=self.success_headers())

    def _noted(self, refusal: Refusal) -> tuple[Any, int]:
        self.record["refused"] = refusal.code or refusal.message
        return self.refused(refusal)

    def _true_answer(self) -> str:
        """Carry the request out, and return what the client would have seen: a refusal is lost like any answer."""
        try:
            content = self.content()
            self.record["accepted"] = True
        except Refusal as refusal:
            content, _ = self._noted(refusal)
        return json.dumps(content, separators=(",", ":"))

    def _response(self, content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
        transport = self.request.transport
        self.record |= {"delivered": transport is not None and not transport.is_closing(), "status": status}
        return web.Response(
            text=json.dumps(content, separators=(",", ":")),
            status=status,
            headers={**self.headers, **(headers or {})},
            content_type="application/json",
        )

    async def _struck(self, fault: Fault) -> web.StreamResponse:
        self.record["fault"] = fault.kind
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            self.admit_late()
            return self._carried_out()
        if fault.kind == "rate_limit":
            raise self.too_many(fault)
        text = ""
        if fault.accepted and fault.kind not in NOT_CARRIED_OUT:
            text = self._true_answer()
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
        if fault.kind in ("hang", "drop_before", "drop_after"):
            return self._cut()
        if fault.kind == "cut_short":
            return await self._cut_short(text)
        response = self._spoilt(fault, text)
        self.record["status"] = response.status
        return response

    def _cut(self) -> web.StreamResponse:
        if self.request.transport is not None:
            self.request.transport.abort()
        return web.Response()

    async def _cut_short(self, text: str) -> web.StreamResponse:
        content = text.encode()
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(content))})
        await response.prepare(self.request)
        await response.write(content[: len(content) // 2])
        if self.request.transport is not None:
            self.request.transport.close()
        return response

    def _spoilt(self, fault: Fault, text: str) -> web.Response:
        if fault.kind == "error":
            content, status = self.error(fault)
            return web.json_response(content, status=fault.status or status)
        if fault.kind in ("http_status", "maintenance"):
            status = fault.status or (502 if fault.kind == "http_status" else 503)
            return web.Response(text=HTML.format(status=status), status=status, content_type="text/html")
        if fault.kind == "html_200":
            return web.Response(text=HTML.format(status="Maintenance"), content_type="text/html")
        half = text[: len(text) // 2] if fault.kind == "truncated" else ""
        return web.Response(text=half, content_type="application/json")
