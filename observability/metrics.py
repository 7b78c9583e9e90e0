"""Metrics of what this process does: one registry, names with their unit. `state_metrics` shows what the ledger knows.

Labels are few and bounded: never an order id, never a symbol. `docs/metrics.md` is generated from what stands here.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from domain.errors import ExecutionError
from observability import traces

# A second series for each of them, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY: Final = CollectorRegistry()
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
VERSION: Final = "0.1.0"
ORDER_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10, 30, 60)
"""They hold the budgets exactly: 50 and 200 ms for reads, 500 ms for orders."""
VENUE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# Of every process.
BUILD_INFO: Final = Gauge("volex_build_info", "1, with the version that runs", ["version"], registry=REGISTRY)
BUILD_INFO.labels(VERSION).set(1)

# Of workers: orders.
ORDERS_PLACED: Final = Counter(
    "volex_orders_placed_total", "Orders admitted", ["account", "side", "order_type"], registry=REGISTRY
)
ORDERS_FINAL: Final = Counter(
    "volex_orders_final_total", "Orders that reached a final status", ["account", "status"], registry=REGISTRY
)
ORDERS_FAILED: Final = Counter(
    "volex_orders_failed_total",
    "Orders that ended unfilled for lack of an answer of a part or of the venue: neither the caller's doing, nor a "
    "limit's, nor the market's",
    ["account", "code"],
    registry=REGISTRY,
)
STAGE_DURATION: Final = Histogram(
    "volex_order_stage_duration_seconds",
    "Seconds that a stage of an order took: validate, risk_check, submit, fill (from the venue's taking it to its "
    "end), persist, whole (from the workflow's start to the facts on record)",
    ["stage", "order_type"],
    buckets=ORDER_BUCKETS,
    registry=REGISTRY,
)
ORDERS_ADOPTED: Final = Counter(
    "volex_orders_adopted_total", "Orders that no workflow carried, taken over", ["account"], registry=REGISTRY
)
DOUBTS_ENDED: Final = Counter(
    "volex_doubts_ended_total", "Doubts by how they ended: found, never_placed, decided_by_person",
    ["account", "ending"], registry=REGISTRY,
)  # fmt: skip
APPROVALS_ASKED: Final = Counter(
    "volex_approvals_asked_total", "Orders that a person was asked about", ["account"], registry=REGISTRY
)
APPROVALS_DECIDED: Final = Counter(
    "volex_approvals_decided_total", "Approvals by what a person's word came to: approved, rejected, denied, expired",
    ["account", "decision"], registry=REGISTRY,
)  # fmt: skip
RISK_AGENT_ANSWERS: Final = Counter(
    "volex_risk_agent_answers_total", "Answers of the external risk agent", ["account", "answer"], registry=REGISTRY
)
CASES_OPENED: Final = Counter(
    "volex_cases_opened_total", "Matters that need a person", ["account", "code"], registry=REGISTRY
)
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

# Of workers: the venue.
VENUE_REQUESTS: Final = Counter(
    "volex_venue_requests_total",
    "Calls to a venue by what came of them: ok, the code of an error of ours, canceled or other; of `submit` "
    "accepted, refused, unsent or unknown",
    ["account", "call", "outcome"],
    registry=REGISTRY,
)
VENUE_REQUEST_DURATION: Final = Histogram(
    "volex_venue_request_duration_seconds",
    "Seconds that a call to a venue took, with its wait for its turn",
    ["account", "call"],
    buckets=VENUE_BUCKETS,
    registry=REGISTRY,
)
RATE_WAITING: Final = Gauge(
    "volex_rate_waiting", "Requests that wait in this process for their turn at the venue: cancel, submit, read",
    ["account", "priority"], registry=REGISTRY,
)  # fmt: skip
FEED_ROUNDS: Final = Counter(
    "volex_feed_rounds_total", "Rounds of an account's feed: ok, or the code of the error that ended them",
    ["account", "outcome"], registry=REGISTRY,
)  # fmt: skip
FEED_ROUND_DURATION: Final = Histogram(
    "volex_feed_round_duration_seconds", "Seconds that a round of an account's feed took", ["account"],
    buckets=VENUE_BUCKETS, registry=REGISTRY,
)  # fmt: skip
RECONCILIATIONS: Final = Counter(
    "volex_reconciliations_total", "Comparisons of an account with its venue: ok, or the code of the error",
    ["account", "outcome"], registry=REGISTRY,
)  # fmt: skip

# Of workers and the REST interface: keys.
KEYS_AGE: Final = Gauge(
    "volex_keys_age_seconds", "Seconds since the account's keys were last read from their store", ["account"],
    registry=REGISTRY,
)  # fmt: skip
VAULT_UP: Final = Gauge(
    "volex_vault_up",
    "1 while Vault takes and renews this process's token, else 0; not there where no Vault is configured",
    registry=None,
)
"""Shown from its first word on: without Vault a 0 would be a false alarm."""

# Of the REST interface.
HTTP_REQUESTS: Final = Counter(
    "volex_http_requests_total", "Answers of the REST interface", ["method", "route", "status"], registry=REGISTRY
)
HTTP_DURATION: Final = Histogram(
    "volex_http_request_duration_seconds", "Seconds from a request to its answer", ["method", "route"],
    buckets=ORDER_BUCKETS, registry=REGISTRY,
)  # fmt: skip
ORDER_ANSWER: Final = Histogram(
    "volex_order_answer_duration_seconds",
    "Seconds from `POST /orders` to its answer, of orders that were taken",
    ["order_type"],
    buckets=ORDER_BUCKETS,
    registry=REGISTRY,
)


def show_vault(*, up: bool) -> None:
    """Show whether Vault takes our token."""
    VAULT_UP.set(int(up))
    with suppress(ValueError):  # it is shown already
        REGISTRY.register(VAULT_UP)


@dataclass(slots=True)
class Outcome:
    """What came of a call; the block may say more than that it did not fail."""

    word: str = "ok"


@contextmanager
def counted(count: Callable[[str, float], None]) -> Iterator[Outcome]:
    """Count and time a block. An exception counts under its code and passes on."""
    began = perf_counter()
    outcome = Outcome()
    try:
        yield outcome
    except BaseException as error:
        outcome.word = word_of(error)
        raise
    finally:
        count(outcome.word, perf_counter() - began)


@contextmanager
def venue_request(account: str, call: str) -> Iterator[Outcome]:
    """Count and time one call to a venue; where traces are on, it is a span."""

    with traces.span(f"venue {call}", {"volex.account": account}) as tell:

        def count(outcome: str, took_s: float) -> None:
            VENUE_REQUEST_DURATION.labels(account, call).observe(took_s)
            VENUE_REQUESTS.labels(account, call, outcome).inc()
            tell("volex.outcome", outcome)

        with counted(count) as outcome:
            yield outcome


@contextmanager
def stage(name: str) -> Iterator[Callable[[str], None]]:
    """Time a stage of an order; the block says the order's type, and without it nothing is counted."""
    began = perf_counter()
    order_types: list[str] = []
    try:
        yield order_types.append
    finally:
        for order_type in order_types:
            STAGE_DURATION.labels(name, order_type).observe(perf_counter() - began)


def word_of(error: BaseException) -> str:
    """Return the error's code if it is one of ours; a bounded word for every other."""
    if isinstance(error, ExecutionError):
        return error.code
    return "canceled" if isinstance(error, asyncio.CancelledError) else "other"


SUBMIT_WORDS: Final = {"not_sent": "unsent"}
NO_FAILURE: Final = frozenset({"ok", "accepted", "refused", "unsent", "canceled"})
"""Outcomes of calls that the venue answered, or that were not made."""


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
    failed = sum(sample.value for sample in samples if sample.labels["outcome"] not in NO_FAILURE)
    return int(sum(sample.value for sample in samples)), int(failed)


def render() -> bytes:
    """Return this process's metrics as Prometheus reads them; their content type is `CONTENT_TYPE`."""
    return generate_latest(REGISTRY)
