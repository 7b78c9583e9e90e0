"""A risk agent of ours: a real HTTP server that checks the question's signature and signs its answer."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from risk_agent import sign_answer, sign_question

SECRET = "a secret of the two of us"
Reply = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


def signed(nonce: str, body: bytes, *, secret: str = SECRET) -> web.Response:
    """Answer with a signature."""
    headers = {"X-Volex-Signature": sign_answer(secret, nonce=nonce, body=body)}
    return web.Response(body=body, headers=headers, content_type="application/json")


def saying(answer: str, **more: str) -> Reply:
    """An agent that always says the same."""

    async def reply(request: web.Request, body: bytes) -> web.StreamResponse:
        return signed(request.headers["X-Volex-Nonce"], json.dumps({"answer": answer, **more}).encode())

    return reply


class AgentServer:
    """A risk agent of ours, as a real HTTP server."""

    def __init__(self) -> None:
        self.reply: Reply = saying("allow")
        self.asked: list[dict[str, Any]] = []
        self.refused = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Check the question's signature, keep it, and answer."""
        body = await request.read()
        headers = request.headers
        expected = sign_question(
            SECRET, timestamp=headers["X-Volex-Timestamp"], nonce=headers["X-Volex-Nonce"], body=body
        )
        if headers["X-Volex-Signature"] != expected or abs(int(headers["X-Volex-Timestamp"]) - time.time()) > 60:
            self.refused += 1
            raise web.HTTPForbidden
        self.asked.append({**json.loads(body), "key": headers["Idempotency-Key"], "nonce": headers["X-Volex-Nonce"]})
        return await self.reply(request, body)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["AgentServer"]:
        """Serve, on a port of its own."""
        app = web.Application()
        app.router.add_post("/ask", self.answer)
        app.router.add_post("/elsewhere", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/ask"
            yield self
        finally:
            await runner.cleanup()
