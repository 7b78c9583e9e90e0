"""Whether the parts answer, as far as is known without asking a venue: workers tell the ledger what they see."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from temporalio.service import RPCError

from api.numbers import write_json
from domain.errors import ExecutionError
from domain.observing import AccountSeen, LedgerObserver, LedgerState
from observability import metrics
from observability.state_metrics import render_state
from settings import Settings
from starter.client import ExecutionClient

if TYPE_CHECKING:
    from api.context import Context

CHECK_TIMEOUT_S: Final = 1.0
FRESH_S: Final = 1.0
OK: Final = "ok"
DOWN: Final = "unavailable"
UNKNOWN: Final = "unknown"
"""Of a venue: the ledger, where workers tell what they see, does not answer."""
NOT_CONFIGURED: Final = "not_configured"


class HealthChecks:
    """Asks Temporal, the ledger and Vault. What has been asked within the last second is not asked again.

    Parameters
    ----------
    observer
        Tells of each account's venue, feed and reconciliation.
    probe_vault
        Raises when Vault does not answer; `None` where none is configured.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: ExecutionClient,
        observer: LedgerObserver,
        probe_vault: Callable[[], Awaitable[object]] | None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._client = client
        self._observer = observer
        self._probe_vault = probe_vault
        self._now = now
        self._told: dict[str, Any] = {}
        self._told_at = float("-inf")
        self._lock = asyncio.Lock()
        self._page = b""
        self._page_at = float("-inf")

    async def report(self) -> dict[str, Any]:
        """Return the body of `GET /health`. `status` is healthy, degraded or unhealthy.

        Unhealthy: Temporal or the ledger does not answer. Degraded: Vault or a venue does not, a clock is off, or an
        account is not followed or not reconciled.
        """
        async with self._lock:
            if time.monotonic() - self._told_at > FRESH_S:
                self._told = await self._ask()
                self._told_at = time.monotonic()
            return self._told

    async def page(self) -> bytes:
        """Return what Prometheus reads: this process's metrics, and below them what the ledger knows."""
        report = await self.report()
        async with self._lock:
            if time.monotonic() - self._page_at > FRESH_S:
                parts = {name: report["components"][name] for name in ("database", "temporal", "vault")}
                answering = {name: word == OK for name, word in parts.items() if word != NOT_CONFIGURED}
                state = await self._state() if answering["database"] else None
                self._page = render_state(state, accounts=self._settings.accounts, components=answering)
                self._page_at = time.monotonic()
            return metrics.render() + self._page

    async def _state(self) -> LedgerState | None:
        try:
            return await asyncio.wait_for(self._observer.look(), CHECK_TIMEOUT_S)
        except (ExecutionError, TimeoutError, OSError):
            return None

    async def _ask(self) -> dict[str, Any]:
        known, temporal, vault = await asyncio.gather(
            self._accounts(),
            self._word(self._ping_temporal),
            self._word(self._probe_vault) if self._probe_vault is not None else _not_configured(),
        )
        names = tuple(self._settings.accounts)
        seen = {name: (known or {}).get(name, AccountSeen(account=name)) for name in names}
        problems = [f"{name}: {text}" for name in names for text in seen[name].problems()] if known is not None else []
        problems += [f"{part} does not answer" for part, word in (("vault", vault),) if word == DOWN]
        failed = [part for part, word in (("temporal", temporal), ("database", _word_of(known))) if word == DOWN]
        status = "unhealthy" if failed else "degraded" if problems else "healthy"
        return {
            "status": status,
            "timestamp": self._now(),
            "components": {
                "vault": vault,
                "database": _word_of(known),
                "exchanges": {name: _venue_word(seen[name], known) for name in names},
                "dry_run_mode": self._settings.dry_run_mode,
                "temporal": temporal,
            },
            "exchanges": list(names),
            "ready": not failed and all(account.is_ready for account in seen.values()),
            "problems": [f"{part} does not answer" for part in failed] + problems,
            "accounts": {name: _figures(seen[name]) for name in names} if known is not None else {},
        }

    async def _accounts(self) -> Mapping[str, AccountSeen] | None:
        try:
            return await asyncio.wait_for(self._observer.look_at_accounts(), CHECK_TIMEOUT_S)
        except (ExecutionError, TimeoutError, OSError):
            return None

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
    return NOT_CONFIGURED


def _word_of(known: Mapping[str, AccountSeen] | None) -> str:
    return DOWN if known is None else OK


def _venue_word(seen: AccountSeen, known: Mapping[str, AccountSeen] | None) -> str:
    if known is None:
        return UNKNOWN
    return OK if seen.venue.is_up else DOWN


def _figures(seen: AccountSeen) -> dict[str, Any]:
    """Show an account's figures; `null` is never, or not known."""
    return {
        "ready": seen.is_ready,
        "venue_answer_age_s": _rounded(seen.venue.answer_age_s),
        "latency_ms": seen.venue.latency_ms,
        "clock_skew_ms": seen.venue.clock_skew_ms,
        "feed_age_s": _rounded(seen.feed_age_s),
        "reconciliation_age_s": _rounded(seen.reconciliation_age_s),
    }


def _rounded(age_s: float | None) -> Decimal | None:
    return None if age_s is None else Decimal(f"{age_s:.1f}")


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


_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"description": "Temporal or the ledger does not answer, or an account is not reconciled yet"}
}


@router.get("/health/ready", responses=_READY)
async def ready(checks: Checks) -> Response:
    """Say whether orders can be taken: Temporal and the ledger answer, and every account is served and reconciled."""
    report = await checks.report()
    return _answer(report, status=200 if report["ready"] else 503)


@router.get("/metrics")
async def prometheus(checks: Checks) -> Response:
    """Return metrics as Prometheus reads them: this process's, and the state of all accounts from the ledger."""
    return Response(await checks.page(), media_type=metrics.CONTENT_TYPE)


def _answer(value: object, *, status: int = 200) -> Response:
    return Response(write_json(value), status, media_type="application/json")
