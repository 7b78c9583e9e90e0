"""`docs/metrics.md`: every metric with its type, labels, meaning and where it is served, from the code."""

from typing import Any, Final

from prometheus_client.metrics import MetricWrapperBase

from observability import metrics
from observability.state_metrics import STATE_METRICS

_OF_API: Final = ("volex_http_", "volex_order_answer_")
_OF_BOTH: Final = ("volex_build_", "volex_vault_", "volex_keys_")
_INTRODUCTION: Final = """Every metric, from `observability/metrics.py` and
`observability/state_metrics.py`. Seconds everywhere; no label holds an order id or a symbol.
How to look at them: [observability.md](observability.md).

- `GET /metrics` of the REST interface (with an API key where one is needed): its own traffic, and the state of all
  accounts from the ledger, at most a second old. Every process of it shows the same state: use `max by`.
- `worker.metrics_address` (`WORKER__METRICS_ADDRESS=0.0.0.0:9464`): what that worker does, and Temporal's SDK metrics.
  Worker N of a host serves at port + N - 1. Off unless set."""


def metrics_page(note: str) -> str:
    """Return the page."""
    ours = [metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)]
    lines = ["# Metrics", "", note, "", _INTRODUCTION, ""]
    lines += ["## State, of the REST interface", "", "All gauges, from the ledger.", ""]
    lines += ["| name | labels | meaning |", "|---|---|---|"]
    for name, (meaning, labels) in STATE_METRICS.items():
        lines.append(f"| `{name}` | {', '.join(labels)} | {meaning} |")
    for title, wanted in (
        ("Traffic, of the REST interface", _is_of_api),
        ("Of workers", lambda name: not _is_of_api(name) and not name.startswith(_OF_BOTH)),
        ("Of both", lambda name: name.startswith(_OF_BOTH)),
    ):
        lines += ["", f"## {title}", "", "| name | type | labels | meaning |", "|---|---|---|---|"]
        lines += [_row(metric) for metric in ours if wanted(_name(metric))]
    lines += ["", "## Of Temporal's SDK, on the page of workers", "", _SDK]
    return "\n".join(lines) + "\n"


_SDK: Final = """All that [Temporal's SDK](https://docs.temporal.io/references/sdk-metrics) has, as `temporal_…`,
durations in seconds: among them `temporal_workflow_task_execution_latency_seconds`,
`temporal_workflow_task_schedule_to_start_latency_seconds`,
`temporal_activity_execution_latency_seconds{activity_type}`, `temporal_activity_schedule_to_start_latency_seconds`,
`temporal_request_latency_seconds{operation}`, `temporal_request_failure_total`, `temporal_sticky_cache_size`,
`temporal_num_pollers` and `temporal_worker_task_slots_available`."""


def _is_of_api(name: str) -> bool:
    return name.startswith(_OF_API)


def _name(metric: MetricWrapperBase) -> str:
    described: Any = metric.describe()[0]
    return f"{described.name}_total" if described.type == "counter" else str(described.name)


def _row(metric: MetricWrapperBase) -> str:
    described: Any = metric.describe()[0]
    labels = ", ".join(metric._labelnames)
    return f"| `{_name(metric)}` | {described.type} | {labels} | {described.documentation} |"
