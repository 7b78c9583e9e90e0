"""A receiver of alerts: a real HTTP server that keeps what it is told, and refuses while it is told to."""

import contextlib
import json
from collections.abc import AsyncIterator

from aiohttp import web
from pydantic import SecretStr

SECRET = "a secret of the two of us"


class Receiver:
    """A real HTTP server that keeps what it is told, and refuses while it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = SecretStr("")

    async def _take(self, request: web.Request) -> web.Response:
        if self.status == 200:
            self.got.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status, text=f"{SECRET} in an answer")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Receiver"]:
        """Serve, on a port of its own."""
        app = web.Application()
        app.router.add_post("/hook", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = SecretStr(f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
            yield self
        finally:
            await runner.cleanup()

    def alerts(self) -> list[tuple[str, str]]:
        """Return what a webhook was told: code and status, in order."""
        told = [alert for _, body in self.got for alert in json.loads(body)["alerts"]]
        return [(alert["labels"]["alertname"], alert["status"]) for alert in told]
