"""Rules and dashboards name only metrics and labels that the code has, and link to sections that the runbook has."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from domain.alerts import ALERT_KINDS, OTHER_KIND
from observability import metrics
from observability.state_metrics import STATE_METRICS
from tests.architecture.sources import ROOT

DEPLOY = ROOT / "deploy"
RULES: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text("utf-8"))
DASHBOARDS = {path.name: json.loads(path.read_text("utf-8")) for path in (DEPLOY / "grafana/dashboards").glob("*.json")}
_SUFFIX = re.compile(r"_(bucket|count|sum)$")
_NAME = re.compile(r"(?<![\w:\"])(?:volex_\w+|temporal_\w+)")
_SELECTOR = re.compile(r"(volex_\w+)\{([^}]*)\}")
_GROUPED = re.compile(r"by \(([^)]*)\) ?\((?:\w+\()*(volex_\w+)")
SDK = {"temporal_activity_schedule_to_start_latency_seconds"}
"""Those of Temporal's SDK that a dashboard shows; seen on the page of a running worker."""


def _known() -> dict[str, set[str]]:
    """Return the labels of each metric of ours, by the name that a query uses."""
    known = {name: set(labels) for name, (_, labels) in STATE_METRICS.items()}
    for collector in vars(metrics).values():
        if isinstance(collector, MetricWrapperBase):
            name = collector._name + ("_total" if collector._type == "counter" else "")
            known[name] = {*collector._labelnames, *(("le",) if collector._type == "histogram" else ())}
    return known


KNOWN = _known()


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of rules and dashboards, by where it stands."""
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield f"{name}: {panel['title']}", target["expr"]


def problems(expression: str) -> list[str]:
    """Say what a query names that is not there."""
    unknown = [name for name in _NAME.findall(expression) if not {name, _SUFFIX.sub("", name)} & (KNOWN.keys() | SDK)]
    for name, labels in [*_SELECTOR.findall(expression), *((n, ls) for ls, n in _GROUPED.findall(expression))]:
        known = KNOWN.get(name) or KNOWN.get(_SUFFIX.sub("", name), set())
        wanted = re.findall(r"(\w+)\s*(?:[=!]~?\"[^\"]*\"|(?=,|$))", labels)
        unknown += [f"{name}{{{label}}}" for label in wanted if label not in known | {"le"}]
    return unknown


@pytest.mark.parametrize(("place", "expression"), list(expressions()))
def test_every_metric_and_label_of_a_query_is_one_of_ours(place: str, expression: str) -> None:
    assert not problems(expression), place


def test_a_metric_or_label_that_is_not_there_would_be_found() -> None:
    assert problems("sum(rate(volex_orders_finale_total[5m]))") == ["volex_orders_finale_total"]
    assert problems('volex_orders_final_total{state="FILLED"}') == ["volex_orders_final_total{state}"]
    assert problems("max by (venue) (volex_feed_age_seconds)") == ["volex_feed_age_seconds{venue}"]
    assert problems("temporal_nonsense") == ["temporal_nonsense"]
    assert not problems(
        'histogram_quantile(0.9, sum by (le) (rate(volex_venue_request_duration_seconds_bucket{call="x"}[5m])))'
    )


def anchors() -> set[str]:
    """The sections of the runbook, as links name them."""
    text = (ROOT / "docs/runbook.md").read_text("utf-8")
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.*)$", text, re.M)}


def test_every_alert_links_to_a_section_of_the_runbook() -> None:
    known = anchors()
    for group in RULES["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                page, _, section = rule["annotations"]["runbook_url"].partition("#")
                assert page == "docs/runbook.md" and section in known, rule["alert"]
                assert rule["annotations"]["summary"] and rule["labels"]["severity"] in ("critical", "warning")
    assert {kind.section for kind in (*ALERT_KINDS.values(), OTHER_KIND)} <= known


def test_every_alert_that_was_promised_is_there() -> None:
    named = {rule.get("alert") for group in RULES["groups"] for rule in group["rules"]}
    promised = (
        "ErrorRateHigh MarketOrdersSlow OrderInDoubt FeedStale ReconciliationFailed VenueDown VaultDown KillSwitchOn"
    )
    assert {f"Volex{word}" for word in promised.split()} <= named
    tried = (DEPLOY / "prometheus/rules_test.yml").read_text("utf-8")
    assert [name for name in named if name and name not in tried] == [], "each has its place in rules_test.yml"


def test_the_dashboard_shows_the_budgets() -> None:
    panels = {panel["title"]: panel for panel in DASHBOARDS["volex.json"]["panels"]}
    for title, budget in (("Error rate of orders", 0.001), ("Market orders, p99", 0.5), ("Queries, p99", 0.2)):
        steps = panels[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert [step["value"] for step in steps if step["color"] == "red"] == [budget]
    assert len({panel["id"] for panel in DASHBOARDS["volex.json"]["panels"]}) == len(panels)


def test_what_compose_mounts_is_what_the_files_refer_to() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text("utf-8"))
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    mounted = {volume.split(":")[1] for volume in compose["prometheus"]["volumes"]}
    assert set(config["rule_files"]) <= mounted
    for job in config["scrape_configs"]:
        hosts = [target.partition(":")[0] for entry in job.get("static_configs", ()) for target in entry["targets"]]
        hosts += [name for entry in job.get("dns_sd_configs", ()) for name in entry["names"]]
        assert hosts and set(hosts) <= set(compose), job["job_name"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_own_tool_takes_the_rules() -> None:
    for arguments in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        subprocess.run(["promtool", *arguments], cwd=DEPLOY / "prometheus", check=True, timeout=60)
