"""Health and readiness from what is known: which word follows from which figures, and that a probe is cheap."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from api.health import HealthChecks
from api.numbers import write_json
from domain.errors import CredentialsUnavailable, StoreUnavailable
from domain.observing import AccountSeen, LedgerState, VenueSeen
from settings import Settings

WELL = AccountSeen(
    account="binanceus",
    venue=VenueSeen(answer_age_s=1, measure_age_s=20, latency_ms=12, clock_skew_ms=-3),
    feed_age_s=1,
    beat_age_s=1,
    reconciliation_age_s=30,
    reconciled=True,
)


class Known:
    """A ledger that knows one account, or does not answer."""

    def __init__(self, seen: AccountSeen | None = WELL) -> None:
        self.seen = seen
        self.looks = 0

    async def look_at_accounts(self) -> Mapping[str, AccountSeen]:
        self.looks += 1
        if self.seen is None:
            raise StoreUnavailable("the ledger does not answer")
        return {"binanceus": self.seen}

    async def look(self) -> LedgerState:
        return LedgerState(accounts=await self.look_at_accounts())


def checks(known: Known, *, temporal: bool = True, vault: bool | None = None) -> HealthChecks:
    """Health over a ledger of the test's own; Temporal and Vault answer or do not."""

    async def check_health(timeout: object) -> bool:
        return temporal

    async def probe() -> None:
        if not vault:
            raise CredentialsUnavailable("Vault is sealed")

    client: Any = SimpleNamespace(temporal=SimpleNamespace(service_client=SimpleNamespace(check_health=check_health)))
    return HealthChecks(
        Settings(),
        client=client,
        observer=known,
        probe_vault=probe if vault is not None else None,
        now=lambda: datetime(2026, 11, 24, 12, tzinfo=UTC),
    )


def after(**changes: Any) -> AccountSeen:
    """The account in health, but for some figures."""
    venue = {name: changes.pop(name) for name in tuple(changes) if name in VenueSeen.model_fields}
    return WELL.model_copy(update={**changes, "venue": WELL.venue.model_copy(update=venue)})


async def test_all_well_is_healthy_and_ready_with_the_fixed_names() -> None:
    report = await checks(Known()).report()
    assert (report["status"], report["ready"], report["problems"]) == ("healthy", True, [])
    assert b'"timestamp":"2026-11-24T12:00:00.000000Z"' in write_json(report)
    assert report["components"] == {
        "vault": "not_configured",
        "database": "ok",
        "exchanges": {"binanceus": "ok"},
        "dry_run_mode": True,
        "temporal": "ok",
    }
    assert report["exchanges"] == ["binanceus"]
    assert report["accounts"]["binanceus"]["clock_skew_ms"] == -3
    assert b'"feed_age_s":1,' in write_json(report)


@pytest.mark.parametrize(
    ("seen", "words", "ready"),
    [
        (after(answer_age_s=91), "venue does not answer", True),
        (after(answer_age_s=None), "venue does not answer", True),
        (after(answer_age_s=6, failure_age_s=1, error="connection refused"), "connection refused", True),
        (after(pause_s=42), "wants no request for 42 s", True),
        (after(clock_skew_ms=-1001), "clock is -1001 ms", True),
        (after(feed_age_s=16), "feed is stale: 16 s ago", True),
        (after(feed_age_s=None), "feed is stale: never", True),
        (after(reconciliation_age_s=301), "not reconciled: 301 s ago", True),
        (after(reconciliation_age_s=None, reconciled=False), "not reconciled: never", False),
        (after(reconciled=False), "no order is admitted yet", False),
        (after(beat_age_s=61, feed_age_s=61), "feed is stale", False),
    ],
)
async def test_one_figure_out_of_bounds_degrades_and_says_why(seen: AccountSeen, words: str, ready: bool) -> None:
    report = await checks(Known(seen)).report()
    assert (report["status"], report["ready"]) == ("degraded", ready)
    assert any(text.startswith("binanceus: ") and words in text for text in report["problems"]), report["problems"]


@pytest.mark.parametrize(
    "seen",
    [
        after(answer_age_s=4, failure_age_s=1),
        after(answer_age_s=89),
        after(answer_age_s=1, failure_age_s=2),
        after(clock_skew_ms=1000, feed_age_s=15, reconciliation_age_s=300),
    ],
)
async def test_weather_within_bounds_is_healthy(seen: AccountSeen) -> None:
    assert (await checks(Known(seen)).report())["status"] == "healthy"


async def test_without_ledger_or_temporal_it_is_unhealthy_and_not_ready() -> None:
    report = await checks(Known(None)).report()
    assert (report["status"], report["ready"]) == ("unhealthy", False)
    assert (report["components"]["database"], report["components"]["exchanges"]) == (
        "unavailable",
        {"binanceus": "unknown"},
    )
    report = await checks(Known(), temporal=False).report()
    assert (report["status"], report["ready"], report["problems"]) == ("unhealthy", False, ["temporal does not answer"])


async def test_vault_that_does_not_answer_degrades_and_orders_go_on() -> None:
    report = await checks(Known(), vault=False).report()
    assert (report["status"], report["ready"], report["components"]["vault"]) == ("degraded", True, "unavailable")
    assert (await checks(Known(), vault=True).report())["components"]["vault"] == "ok"


async def test_many_probes_within_a_second_are_one_look() -> None:
    known = Known()
    probed = checks(known)
    for _ in range(50):
        await probed.report()
    assert known.looks == 1


async def test_page_shows_parts_and_state_and_makes_nothing_up_without_the_ledger() -> None:
    page = (await checks(Known(), vault=True).page()).decode()
    assert 'volex_component_up{component="vault"} 1.0' in page
    assert 'volex_venue_up{account="binanceus"} 1.0' in page
    assert 'volex_account_ready{account="binanceus"} 1.0' in page
    assert "volex_kill_switches_on 0.0" in page
    page = (await checks(Known(None)).page()).decode()
    assert 'volex_component_up{component="database"} 0.0' in page
    assert "volex_venue_up{" not in page and 'component="vault"' not in page
