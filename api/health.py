"""Whether the parts answer: quickly, and never more often than about once a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from temporalio.service import RPCError

from api.numbers import write_json
from api.venues import Venues
from domain.errors import ExecutionError
from domain.ports import OrderReader
from observability import metrics
from settings import Settings
from starter.client import ExecutionClient

if TYPE_CHECKING:
    from api.context import Context

CHECK_TIMEOUT_S: Final = 1.0
FRESH_S: Final = 1.0
OK: Final = "ok"
DOWN: Final = "unavailable"


class HealthChecks:
    """Asks Temporal, the ledger, the venues and Vault. What has been asked within the last second is not asked again.

    Parameters
    ----------
    probe_vault
        Raises when Vault does not answer; `None` where none is configured.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: ExecutionClient,
        reader: OrderReader,
        venues: Venues,
        probe_vault: Callable[[], Awaitable[object]] | None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._reader = reader
        self._venues = venues
        self._probe_vault = probe_vault
        self._told: dict[str, Any] = {}
        self._told_at = float("-inf")
        self._lock = asyncio.Lock()

    async def report(self) -> dict[str, Any]:
        """Return the body of `GET /health`. `status` is healthy, degraded (a venue or Vault) or unhealthy."""
        async with self._lock:
            if time.monotonic() - self._told_at > FRESH_S:
                self._told = await self._ask()
                self._told_at = time.monotonic()
            return self._told

    async def _ask(self) -> dict[str, Any]:
        accounts: Sequence[str] = tuple(self._settings.accounts)
        (database, temporal, vault), statuses = await asyncio.gather(
            asyncio.gather(
                self._word(self._reader.ping),
                self._word(self._ping_temporal),
                self._word(self._probe_vault) if self._probe_vault is not None else _not_configured(),
            ),
            asyncio.gather(*(self._venues.status(account, timeout_s=CHECK_TIMEOUT_S) for account in accounts)),
        )
        exchanges = {
            account: OK if status.reachable else DOWN for account, status in zip(accounts, statuses, strict=True)
        }
        if DOWN in (database, temporal):
            status = "unhealthy"
        else:
            status = "degraded" if DOWN in (vault, *exchanges.values()) else "healthy"
        return {
            "status": status,
            "timestamp": datetime.now(UTC),
            "components": {
                "vault": vault,
                "database": database,
                "exchanges": exchanges,
                "dry_run_mode": self._settings.dry_run_mode,
                "temporal": temporal,
            },
            "exchanges": list(accounts),
        }

    async def _ping_temporal(self) -> None:
        service = self._client.temporal.service_client
        if not await service.check_health(timeout=timedelta(seconds=CHECK_TIMEOUT_S)):
            raise RuntimeError("Temporal does not serve")

    async def _word(self, probe: Callable[[], Awaitable[object]]) -> str:
        try:
            await asyncio.wait_for(probe(), CHECK_TIMEOUT_S)
        except (ExecutionError, RPCError, RuntimeError, TimeoutError, OSError):
            return DOWN
        return OK


async def _not_configured() -> str:
    return "not_configured"


def _checks(request: Request) -> HealthChecks:
    context: Context = request.app.state.context
    return context.health


Checks = Annotated[HealthChecks, Depends(_checks)]
router = APIRouter(tags=["health"])


@router.get("/health")
async def health(checks: Checks) -> Response:
    """Say how each part answers. The status code is 200 whatever the parts say; see `/health/ready`."""
    return _answer(await checks.report())


@router.get("/health/live")
async def live() -> Response:
    """Say that the process runs. Needs no API key."""
    return _answer({"status": "alive"})


@router.get("/health/ready", responses={503: {"description": "Temporal or the ledger does not answer"}})
async def ready(checks: Checks) -> Response:
    """Say whether orders can be taken: Temporal and the ledger answer."""
    report = await checks.report()
    return _answer(report, status=503 if report["status"] == "unhealthy" else 200)


@router.get("/metrics")
async def prometheus() -> Response:
    """Return this process's metrics as Prometheus reads them."""
    return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)


def _answer(value: object, *, status: int = 200) -> Response:
    return Response(write_json(value), status, media_type="application/json")
