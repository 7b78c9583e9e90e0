"""How requests of ccxt leave this process, and what is known of each: the evidence for every verdict.

A ccxt class is extended, never changed: `fetch` notes each request with its raw answer, and an order's request passes
a gate at the last moment, when its connection is there and the next thing is the write. What happens before the gate
was not sent; whatever happens after it may have been.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import ccxt.async_support

from domain.ports import LastLook
from domain.rate_budget import UNIT, Priority
from exchanges.rate_queue import Permit, RequestQueue
from exchanges.rate_turns import current_turn

READ_KEEPALIVE_S: Final = 60
"""Reads that meet a connection which the venue closed are simply sent again by aiohttp."""
ORDER_KEEPALIVE_S: Final = 4
"""A POST on a connection that the venue is just closing is lost in doubt. The least idle timeout that front ends
commonly have is 5 s, so connections for orders are not kept for longer than this."""
TURN_S: Final = 1.0
"""Where requests go one after the other: so long the next one waits for the answer to the one before. It is sent then
all the same, for a venue that hangs must not hold up a cancel. An overtaken request is turned away unread."""
RequestCheck = Callable[[str, Mapping[str, str] | None, object], None]
"""Looks at a request (URL, headers, body) and raises `NotSent` when it must not leave."""


class NotSent(Exception):  # a verdict on the request, not a fault
    """The gate did not let the order's request through: no byte of it has left, and none will.

    `retry_after_s` is 0 or more; `refused` is true when trying again cannot help.
    """

    def __init__(self, code: str, text: str, *, retry_after_s: int = 0, refused: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.retry_after_s = retry_after_s
        self.refused = refused


@dataclass(slots=True)
class HttpCall:
    """One request and what came back. `status` is `None` while no whole answer has been read."""

    method: str
    gate: "Gate | None" = None
    may_have_left: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: str = ""
    document: object = None
    """The body as JSON, `None` when it is none."""

    @property
    def succeeded(self) -> bool:
        """Tell whether the whole answer was read, is JSON, and says success."""
        return self.status is not None and 200 <= self.status < 300 and self.document is not None


class Gate:
    """Lets one order's request leave, once, if nothing speaks against it at the last moment.

    Parameters
    ----------
    signed_at
        The journaled time; the request is refused here when it is older than `send_within_s`.
    check
        Says whether the request is the order that was asked for.
    """

    def __init__(
        self,
        last_look: LastLook,
        *,
        signed_at: datetime,
        send_within_s: float,
        check: RequestCheck,
        clock: Callable[[], datetime],
    ) -> None:
        self._last_look = last_look
        self._deadline = signed_at + timedelta(seconds=send_within_s)
        self._check = check
        self._clock = clock
        self._used = False
        self.signed_ms = int(signed_at.timestamp() * 1000)

    @property
    def remaining_s(self) -> float:
        """Seconds in which the request can still be sent; below zero when it is too late."""
        return (self._deadline - self._clock()).total_seconds()

    def refuse_if_late(self) -> None:
        """Raise `NotSent` when the journaled time is too long ago."""
        if self.remaining_s <= 0:
            raise NotSent("TOO_LATE_TO_SEND", "the order was journaled too long ago; the market has moved on")

    def check_request(self, url: str, headers: Mapping[str, str] | None, body: object) -> None:
        """Raise `NotSent` unless this is the one request of this order, and says what was asked for."""
        if self._used:
            raise NotSent("SECOND_REQUEST", "an order is sent in one request only", refused=True)
        self._used = True
        self._check(url, headers, body)

    async def pass_through(self) -> None:
        """Raise `NotSent` if it is too late, or the last look says no."""
        self.refuse_if_late()
        if not await self._last_look():
            raise NotSent("LAST_LOOK_REFUSED", "the attempt was taken back, has expired, or sending is switched off")
        self.refuse_if_late()  # the process may have been stopped while the ledger answered


@dataclass(slots=True)
class Probe:
    """All requests of one operation, and what they took of the venue's budgets until it is over."""

    gate: Gate | None = None
    priority: Priority = Priority.READ
    calls: list[HttpCall] = field(default_factory=list)
    permits: list[Permit] = field(default_factory=list)

    @property
    def order_call(self) -> HttpCall | None:
        """The order's own request, if it came to one."""
        return next((call for call in self.calls if call.gate is not None), None)

    def settle(self) -> None:
        """Count what the requests cost as spent from now on; an order that never left costs nothing."""
        order = self.order_call
        spent = bool(self.calls) and (order is None or order.may_have_left)
        for permit in self.permits:
            permit.settle(spent=spent)


_PROBE: ContextVar[Probe | None] = ContextVar("venue_probe", default=None)
_CALL: ContextVar[HttpCall | None] = ContextVar("venue_call", default=None)


@contextmanager
def probing(probe: Probe) -> Iterator[Probe]:
    """Note in `probe` every request that is made inside."""
    token = _PROBE.set(probe)
    try:
        yield probe
    finally:
        _PROBE.reset(token)
        probe.settle()


async def _about_to_write(session: aiohttp.ClientSession, context: SimpleNamespace, params: object) -> None:
    """Pass the gate. aiohttp awaits this, whatever its name says, when the connection is there and before it writes.

    Raising here closes the connection unused. A test holds aiohttp to that.
    """
    call = _CALL.get()
    if call is not None and call.gate is not None and not call.may_have_left:
        await call.gate.pass_through()
        call.may_have_left = True


class VenueSessions:
    """Stands where ccxt expects an aiohttp session: reads and orders on connections of their own.

    Redirects are never followed, for a 307 would send an order a second time.
    """

    def __init__(self, *, verify: bool, cafile: str | None, trust_env: bool) -> None:
        tls = ssl.create_default_context(cafile=cafile) if verify else False
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_about_to_write)
        self._reads, self._orders = (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, keepalive_timeout=keepalive_s),
                trace_configs=[trace],
                trust_env=trust_env,
            )
            for keepalive_s in (READ_KEEPALIVE_S, ORDER_KEEPALIVE_S)
        )

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of every request: none, ccxt sets its own."""
        return {}

    def get(self, url: object, **options: Any) -> object:
        """Read."""
        return self._reads.get(url, allow_redirects=False, **options)  # type: ignore[arg-type]  # ccxt gives a yarl.URL

    def post(self, url: object, **options: Any) -> object:
        """Write; also how some venues read."""
        return self._orders.post(url, allow_redirects=False, **options)  # type: ignore[arg-type]  # as above

    def put(self, url: object, **options: Any) -> object:
        """Change."""
        return self._orders.put(url, allow_redirects=False, **options)  # type: ignore[arg-type]  # as above

    def patch(self, url: object, **options: Any) -> object:
        """Change in part."""
        return self._orders.patch(url, allow_redirects=False, **options)  # type: ignore[arg-type]  # as above

    def delete(self, url: object, **options: Any) -> object:
        """Cancel."""
        return self._orders.delete(url, allow_redirects=False, **options)  # type: ignore[arg-type]  # as above

    async def close(self) -> None:
        """Close all connections."""
        await self._reads.close()
        await self._orders.close()


class Turns:
    """Lets requests leave in the order in which they were signed, each after the answer to the one before."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn, and keep it until the end of the block, but not for more than `TURN_S`."""
        await self._lock.acquire()
        is_mine = True

        def give_up() -> None:
            nonlocal is_mine
            if is_mine:
                is_mine = False
                self._lock.release()

        ending = asyncio.get_running_loop().call_later(TURN_S, give_up)
        try:
            yield
        finally:
            ending.cancel()
            give_up()


class _Watched:
    """Mixed into a ccxt class; see the module's text. ccxt's own names and signatures."""

    options: dict[str, Any]
    turns: Turns | None = None
    """Where the venue wants its signed requests in the order of their nonces."""
    requests: RequestQueue
    """In place of ccxt's throttler, which knows neither priorities nor other processes."""

    async def throttle(self, cost: Any = None) -> None:
        """Wait for the request's turn: cancels before orders before reads, and orders not beyond their time."""
        probe = _PROBE.get() or Probe()
        gate = probe.gate
        if gate is not None:
            gate.refuse_if_late()
        try:
            async with asyncio.timeout(gate.remaining_s if gate is not None else None):
                await self._pay(round(float(1 if cost is None else cost) * UNIT), probe)
        except TimeoutError:
            raise NotSent("RATE_BUDGET_SPENT", "no request weight is left at the venue", retry_after_s=5) from None

    async def _pay(self, weight: int, probe: Probe) -> None:
        costs = {"weight": weight, "requests": UNIT}
        turn = current_turn() if probe.gate is not None else None
        if turn is not None:
            probe.permits.append(turn)
            costs = {name: amount - turn.costs.get(name, 0) for name, amount in costs.items()}
            if all(amount <= 0 for amount in costs.values()):
                return
        elif probe.gate is not None and not probe.permits:
            costs |= {name: UNIT for name, purse in self.requests.purses.items() if purse.budget.only_orders}
        probe.permits.append(await self.requests.acquire(costs, priority=probe.priority))

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """Note the request; an order's one gets its gate."""
        probe = _PROBE.get()
        call = HttpCall(method)
        if probe is not None:
            probe.calls.append(call)
            if probe.gate is not None and method != "GET":
                probe.gate.check_request(url, headers, body)
                call.gate = probe.gate
                if self._goes_past_our_sessions():
                    await probe.gate.pass_through()
                    call.may_have_left = True
        token = _CALL.set(call)
        try:
            async with self._turn(method):
                return await super().fetch(url, method, headers, body)  # type: ignore[misc]  # ccxt's class comes after
        finally:
            _CALL.reset(token)

    def _turn(self, method: str) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self.turns is None or method == "GET" else self.turns.turn()

    def _goes_past_our_sessions(self) -> bool:
        """Tell whether ccxt will open a session of its own, which it does for SOCKS: the gate is passed before that."""
        return any(getattr(self, name, None) for name in ("socksProxy", "socks_proxy", "socksProxyCallback"))

    def nonce(self) -> Any:
        """Return ccxt's time stamp or counter; an order's is the journaled time on the venue's clock."""
        probe = _PROBE.get()
        if probe is not None and probe.gate is not None and self.options.get("signsJournaledTime"):
            return probe.gate.signed_ms - int(self.options.get("timeDifference") or 0)
        return super().nonce()  # type: ignore[misc]  # as above

    def on_rest_response(self, code: int, reason: str, url: str, method: str, response_headers: Mapping[str, str],
                         response_body: str, request_headers: Any, request_body: Any) -> str:  # fmt: skip
        """Keep the raw answer."""
        call = _CALL.get()
        if call is not None:
            call.status = code
            call.headers = {name.lower(): value for name, value in response_headers.items()}
            call.body = response_body
        return response_body.strip()

    def parse_json(self, http_response: str) -> Any:
        """Read numbers as text, to keep every digit; integers stay, for ids and codes are compared as such."""
        try:
            document = json.loads(http_response, parse_float=str)
        except ValueError:
            return None
        if not isinstance(document, dict | list):
            return None
        call = _CALL.get()
        if call is not None:
            call.document = document
        return document

    def parse_order_book_bid_ask(self, bidask: Any, price_key: Any = 0, amount_key: Any = 1, count_key: Any = 2) -> Any:
        """Keep the digits of the order book, which ccxt reads as floats."""
        return [str(bidask[price_key]), str(bidask[amount_key])]


def watched_class(exchange: str) -> type[Any]:
    """Return ccxt's class for the id with our evidence mixed in. The id must be in `ccxt.exchanges`."""
    return type(exchange, (_Watched, getattr(ccxt.async_support, exchange)), {})
