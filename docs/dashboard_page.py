"""`python -m docs.dashboard_page PROMETHEUS_URL OUT.html [--minutes 10]`: the Grafana dashboard drawn without Grafana.

Each panel's query, as it stands in `deploy/grafana/dashboards/volex.json`, is put to a Prometheus, and what it answers
is drawn. The pictures of the documentation are made with it, and whoever changes the dashboard can look at it.
"""

import argparse
import html
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx2

DASHBOARD: Final = Path(__file__).parents[1] / "deploy/grafana/dashboards/volex.json"
STEPS: Final = 150
COLORS: Final = ("#73bf69", "#5794f2", "#f2cc0c", "#ff780a", "#b877d9", "#f2495c", "#8ab8ff", "#96d98d", "#ca95e5")
WIDTH, HEIGHT, LEFT = 560, 190, 52
_STYLE: Final = """
body{background:#111217;color:#ccccdc;font:13px sans-serif;margin:12px;width:1760px}
h1{font-size:18px;margin:4px 6px}h2{grid-column:span 24;font-size:14px;margin:8px 4px 0;color:#fff}
main{display:grid;grid-template-columns:repeat(24,1fr);gap:8px}
section{background:#181b1f;border:1px solid #2c3235;padding:8px;min-width:0}
h3{font-size:13px;margin:0 0 4px;color:#fff}.stat{font-size:30px;font-weight:bold;text-align:center;padding:10px 4px;
border-radius:4px;color:#fff;margin:4px 0}.stat small{font-size:12px;font-weight:normal;display:block}
table{width:100%;font-size:11px;border-spacing:0}td{padding:0 4px}td+td{text-align:right}svg{width:100%}
.stats{display:flex;gap:6px}.stats>div{flex:1}
"""
Series = tuple[str, list[tuple[float, float]]]


class Prometheus:
    """Asks one Prometheus for the range that is shown."""

    def __init__(self, url: str, *, end_s: float, minutes: int) -> None:
        self._client = httpx2.Client(base_url=url, timeout=30, trust_env=False)
        self.end_s = end_s
        self.start_s = end_s - minutes * 60

    def series(self, target: Mapping[str, Any]) -> list[Series]:
        """Return what a target shows, by its legend."""
        step = max((self.end_s - self.start_s) / STEPS, 1)
        query = self._filled(target["expr"])
        parameters = {"query": query, "start": self.start_s, "end": self.end_s, "step": step}
        found = self._ask("/api/v1/query_range", parameters)
        return [(_legend(target, one["metric"]), _points(one["values"])) for one in found]

    def last(self, target: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Return its last values."""
        found = self._ask("/api/v1/query", {"query": self._filled(target["expr"]), "time": self.end_s})
        return [(_legend(target, one["metric"]), float(one["value"][1])) for one in found]

    def _filled(self, query: str) -> str:
        range_s = int(self.end_s - self.start_s)
        filled = query.replace("$__range", f"{range_s}s").replace("$__rate_interval", "30s")
        return filled.replace("$account", ".*")

    def _ask(self, path: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = self._client.get(path, params=dict(parameters))
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


def _legend(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    text = str(target["legendFormat"])
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def _points(values: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    return [(float(at), float(value)) for at, value in values if math.isfinite(float(value))]


def shown(value: float, unit: str) -> str:
    """Write a value in its unit."""
    if not math.isfinite(value):
        return "never" if value > 0 else "-"
    match unit:
        case "percentunit":
            return f"{value * 100:.2f} %"
        case "s" if value == 0:
            return "0"
        case "s":
            return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
        case "reqps":
            return f"{value:.2f}/s"
        case _:
            return f"{value:,.6g}"


def _color_of(value: float, panel: Mapping[str, Any]) -> str:
    color = "green"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return {"green": "#3d8b40", "red": "#c4162a"}.get(color, color)


def stat(panel: Mapping[str, Any], prometheus: Prometheus) -> str:
    """Draw a panel of single figures."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    found = [pair for target in panel["targets"] for pair in prometheus.last(target)]
    boxes = [
        f'<div class="stat" style="background:{_color_of(value, panel)}">{shown(value, unit)}'
        f"<small>{html.escape(name)}</small></div>"
        for name, value in found
    ]
    return f'<div class="stats">{"".join(boxes) or "no data"}</div>'


def chart(panel: Mapping[str, Any], prometheus: Prometheus) -> str:
    """Draw a panel of lines."""
    defaults = panel["fieldConfig"]["defaults"]
    series = [one for target in panel["targets"] for one in prometheus.series(target) if one[1]]
    if not series:
        return "<p>nothing of this in the range shown</p>"
    limits = [step["value"] for step in defaults["thresholds"]["steps"] if step["value"] is not None]
    highest = max(value for _, points in series for _, value in points)
    lines = [limit for limit in limits if limit <= highest * 20 or highest == 0]
    top = (max([highest, *lines]) or 1) * 1.1
    drawn = [_axis(top, defaults["unit"], prometheus)]
    for limit in lines:
        y = _y(limit, top)
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="#c4162a" stroke-dasharray="6 4"/>')
    rows = []
    for color, (name, points) in zip(COLORS * 9, series, strict=False):
        path = " ".join(f"{_x(at, prometheus):.1f},{_y(value, top)}" for at, value in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        last, most = points[-1][1], max(value for _, value in points)
        figures = f"<td>last {shown(last, defaults['unit'])}</td><td>max {shown(most, defaults['unit'])}</td>"
        rows.append(f'<tr><td style="color:{color}">{html.escape(name)}</td>{figures}</tr>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 18}">{"".join(drawn)}</svg><table>{"".join(rows[:9])}</table>'


def _x(at: float, prometheus: Prometheus) -> float:
    return LEFT + (at - prometheus.start_s) / (prometheus.end_s - prometheus.start_s) * (WIDTH - LEFT)


def _y(value: float, top: float) -> float:
    return round(HEIGHT - value / top * (HEIGHT - 8), 1)


def _axis(top: float, unit: str, prometheus: Prometheus) -> str:
    drawn = []
    for part in range(5):
        y = _y(top * part / 4, top)
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="#2c3235"/>')
        drawn.append(f'<text x="0" y="{y + 3}" fill="#8e8e9b" font-size="10">{shown(top * part / 4, unit)}</text>')
    for part in range(1, 5):
        at = prometheus.start_s + (prometheus.end_s - prometheus.start_s) * part / 5
        clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
        x = _x(at, prometheus) - 20
        drawn.append(f'<text x="{x:.0f}" y="{HEIGHT + 14}" fill="#8e8e9b" font-size="10">{clock}</text>')
    return "".join(drawn)


def page(dashboard: Mapping[str, Any], prometheus: Prometheus) -> Iterator[str]:
    """Draw the whole dashboard."""
    began, ended = (datetime.fromtimestamp(at, UTC) for at in (prometheus.start_s, prometheus.end_s))
    title = html.escape(dashboard["title"])
    yield f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    yield f"<h1>{title} <small>{began:%Y-%m-%d %H:%M:%S} to {ended:%H:%M:%S} UTC</small></h1><main>"
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield f"<h2>{html.escape(panel['title'])}</h2>"
            continue
        body = stat(panel, prometheus) if panel["type"] == "stat" else chart(panel, prometheus)
        width = panel["gridPos"]["w"]
        yield f'<section style="grid-column:span {width}"><h3>{html.escape(panel["title"])}</h3>{body}</section>'
    yield "</main>\n"


def main() -> None:
    """Draw the dashboard of the last minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prometheus", help="its address, such as http://127.0.0.1:9090")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=int, default=10)
    given = parser.parse_args()
    prometheus = Prometheus(given.prometheus, end_s=time.time(), minutes=given.minutes)
    given.out.write_text("".join(page(json.loads(DASHBOARD.read_text("utf-8")), prometheus)), "utf-8")
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
