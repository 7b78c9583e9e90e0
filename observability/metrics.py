"""Metrics: one registry, names with their unit. Labels are few and bounded: never an order id, never a symbol."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

REGISTRY: Final = CollectorRegistry()
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

ORDERS_PLACED: Final = Counter(
    "volex_orders_placed_total", "Orders admitted", ["account", "side", "order_type"], registry=REGISTRY
)
RISK_AGENT_ANSWERS: Final = Counter(
    "volex_risk_agent_answers_total", "Answers of the external risk agent", ["account", "answer"], registry=REGISTRY
)
ORDERS_FINAL: Final = Counter(
    "volex_orders_final_total", "Orders that reached a final status", ["account", "status"], registry=REGISTRY
)
ORDERS_IN_DOUBT: Final = Gauge(
    "volex_orders_in_doubt", "Orders of which the venue has not yet said whether it has them", ["account"],
    registry=REGISTRY,
)  # fmt: skip
RECONCILED_AT: Final = Gauge(
    "volex_reconciled_timestamp_seconds", "When the account was last compared with its venue", ["account"],
    registry=REGISTRY,
)  # fmt: skip
ORDERS_ADOPTED: Final = Counter(
    "volex_orders_adopted_total", "Orders that no workflow carried, taken over", ["account"], registry=REGISTRY
)
CASES_OPENED: Final = Counter(
    "volex_cases_opened_total", "Matters that need a person", ["account", "code"], registry=REGISTRY
)
OLDEST_DOUBT_AGE: Final = Gauge(
    "volex_oldest_doubt_age_seconds", "Seconds that the longest doubt lasts so far; 0 without any", ["account"],
    registry=REGISTRY,
)  # fmt: skip
DOUBTS_ENDED: Final = Counter(
    "volex_doubts_ended_total", "Doubts by how they ended: found, never_placed, decided_by_person",
    ["account", "ending"], registry=REGISTRY,
)  # fmt: skip
VAULT_UP: Final = Gauge(
    "volex_vault_up", "1 while Vault takes and renews this process's token, else 0", registry=REGISTRY
)
KEYS_AGE: Final = Gauge(
    "volex_keys_age_seconds", "Seconds since the account's keys were last read from their store", ["account"],
    registry=REGISTRY,
)  # fmt: skip
ORDERS_HELD: Final = Gauge(
    "volex_orders_held", "Orders that wait for a person's approval", ["account"], registry=REGISTRY
)
OLDEST_HELD_AT: Final = Gauge(
    "volex_oldest_held_timestamp_seconds", "Since when the longest held order waits; 0 without any", ["account"],
    registry=REGISTRY,
)  # fmt: skip
APPROVALS_ASKED: Final = Counter(
    "volex_approvals_asked_total", "Orders that a person was asked about", ["account"], registry=REGISTRY
)
APPROVALS_DECIDED: Final = Counter(
    "volex_approvals_decided_total", "Approvals by what a person's word came to: approved, rejected, denied, expired",
    ["account", "decision"], registry=REGISTRY,
)  # fmt: skip
ALERTS: Final = Counter(
    "volex_alerts_total", "Matters that were told to people", ["account", "code"], registry=REGISTRY
)
NOTICES: Final = Counter(
    "volex_notices_total", "Notices of alerts by channel and what came of them: delivered, failed, given_up",
    ["channel", "outcome"], registry=REGISTRY,
)  # fmt: skip
HISTORIES_ARCHIVED: Final = Counter(
    "volex_histories_archived_total", "Histories of closed workflows stored beside the ledger", ["account"],
    registry=REGISTRY,
)  # fmt: skip
HISTORIES_LOST: Final = Counter(
    "volex_histories_lost_total", "Ended orders whose history Temporal no longer had", ["account"], registry=REGISTRY
)
HISTORIES_OWED: Final = Gauge(
    "volex_histories_owed", "Ended orders of this worker's accounts whose history is not archived yet",
    registry=REGISTRY,
)  # fmt: skip
OLDEST_HISTORY_OWED_AGE: Final = Gauge(
    "volex_oldest_history_owed_age_seconds", "Seconds since the oldest of them ended; 0 without any", registry=REGISTRY
)
VENUE_REQUESTS: Final = Counter(
    "volex_venue_requests_total", "Requests to a venue", ["account", "call", "outcome"], registry=REGISTRY
)
VENUE_REQUEST_DURATION: Final = Histogram(
    "volex_venue_request_duration_seconds",
    "Seconds that a venue took to answer",
    ["account", "call"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)


@contextmanager
def venue_request(account: str, call: str) -> Iterator[None]:
    """Count and time one request. An exception counts as an outcome under its class's name and passes on."""
    began = perf_counter()
    outcome = "ok"
    try:
        yield
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        VENUE_REQUEST_DURATION.labels(account, call).observe(perf_counter() - began)
        VENUE_REQUESTS.labels(account, call, outcome).inc()


def show_held(account: str, since: Sequence[datetime]) -> None:
    """Show the orders that wait for a person, by the times since when they do."""
    ORDERS_HELD.labels(account).set(len(since))
    OLDEST_HELD_AT.labels(account).set(min(since).timestamp() if since else 0)


def vault_is_up() -> bool:
    """Tell whether Vault has taken this process's token when it was last asked."""
    return REGISTRY.get_sample_value("volex_vault_up") == 1


def venue_calls(account: str) -> tuple[int, int]:
    """Return how many requests to an account's venue this process has made, and how many of them failed."""
    samples = [
        sample
        for metric in VENUE_REQUESTS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["account"] == account
    ]
    failed = sum(sample.value for sample in samples if sample.labels["outcome"] != "ok")
    return int(sum(sample.value for sample in samples)), int(failed)


def render() -> bytes:
    """Return all metrics as Prometheus reads them; their content type is `CONTENT_TYPE`."""
    return generate_latest(REGISTRY)


def serve(address: str) -> None:
    """Serve them on `host:port` from a thread of its own, for processes without an HTTP interface.

    Raises
    ------
    OSError
        When the port is taken.
    """
    host, _, port = address.rpartition(":")
    start_http_server(int(port), addr=host or "127.0.0.1", registry=REGISTRY)
