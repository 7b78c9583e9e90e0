"""Execution quality as one page: tables and plots as SVG, in one file, without a library and without a script."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any, Final

WIDTH: Final = 540
ROW: Final = 26
LABEL: Final = 160
FIGURE: Final = 90
HEIGHT: Final = 250
BINS: Final = 24
COST, GAIN, QUIET, INK = "#c2512f", "#2f7f6f", "#b9c4cc", "#222831"
_STAGES: Final = {
    "admit": "asked to admitted",
    "send": "admitted to journaled",
    "venue": "journaled to answered",
    "first_fill": "admitted to first fill",
    "last_fill": "admitted to last fill",
    "persist": "ended to final",
}
_STYLE: Final = f"""
:root {{ color-scheme: light; }}
body {{ font: 14px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: {INK}; background: #fff;
  max-width: 1240px; margin: 24px auto; padding: 0 16px; }}
h1 {{ font-size: 22px; margin: 0 0 4px; }} p {{ color: #56616b; margin: 4px 0 14px; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 5px 8px; border-bottom: 1px solid #e4e9ed; white-space: nowrap; }}
th {{ font-weight: 600; color: #56616b; }} th:first-child, td:first-child {{ text-align: left; }}
.plots {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 18px; margin-top: 18px; }}
figure {{ margin: 0; border: 1px solid #e4e9ed; border-radius: 6px; padding: 10px 12px; }}
svg {{ width: 100%; height: auto; display: block; }}
figcaption {{ font-weight: 600; margin-bottom: 6px; }}
"""
Rows = Sequence[Mapping[str, Any]]


def page(
    groups: Rows, orders: Rows, *, columns: Sequence[tuple[str, Callable[[Mapping[str, Any]], str]]], title: str
) -> str:
    """Return the page. Numbers are exact in the tables; only places on the plots are rounded."""
    slippages = [order["slippage_bps"] for order in orders if order["slippage_bps"] is not None]
    largest = max(groups, key=lambda row: row["orders"], default=None)
    plots = [
        ("Slippage against arrival, bps (right of the line: it cost)", _slippage(groups)),
        ("Implementation shortfall and its fees, bps", _shortfall(groups)),
        (f"Slippage of {len(slippages)} orders, bps", histogram(slippages)),
        ("Slippage of each order over time, bps", dots(_points(orders))),
        (f"Latency of {_name(largest)}, ms: dark to the median, light to the 95th percentile", _latency(largest)),
        ("Filled part of what was asked", bars(((_name(row), row["fill_ratio"], "") for row in groups), cost=QUIET)),
    ]
    figures = "".join(f"<figure><figcaption>{escape(name)}</figcaption>{svg}</figure>" for name, svg in plots if svg)
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(show(row))}</td>' for _, show in columns)}</tr>" for row in groups)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>Execution quality</h1><p>{escape(title)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f'<div class="plots">{figures}</div></body></html>\n'
    )


def bars(rows: Iterable[tuple[str, Decimal | None, str]], *, cost: str = COST) -> str:
    """Return bars from a line at zero: to the right what costs, to the left what gains."""
    known = [(label, value, shown) for label, value, shown in rows if value is not None]
    if not known:
        return ""
    low, high = min(0.0, *(float(v) for _, v, _ in known)), max(0.0, *(float(v) for _, v, _ in known))
    span = (high - low) or 1.0
    left_room = FIGURE if low < 0 else 0
    room = WIDTH - LABEL - FIGURE - left_room
    zero = LABEL + left_room + room * -low / span
    height = ROW * len(known) + 8
    parts = [f'<line x1="{zero:.1f}" y1="0" x2="{zero:.1f}" y2="{height}" stroke="{QUIET}"/>']
    for number, (label, value, shown) in enumerate(known):
        top, size = 4 + ROW * number, room * abs(float(value)) / span
        left = zero if value >= 0 else zero - size
        side, anchor = (zero + size + 6, "start") if value >= 0 else (left - 6, "end")
        parts += [
            _text(LABEL - 8, top + 15, label, "end"),
            f'<rect x="{left:.1f}" y="{top + 3}" width="{max(size, 1):.1f}" height="{ROW - 10}"'
            f' fill="{cost if value > 0 else GAIN}"/>',
            _text(side, top + 15, f"{rounded(value)}{shown}", anchor),
        ]
    return _svg(height, parts)


def histogram(values: Sequence[Decimal]) -> str:
    """Return how many values lie in each of some equal spans; the line is at zero."""
    if not values:
        return ""
    low, high = float(min(values)), float(max(values))
    low, high = min(low, 0.0), max(high, 0.0)
    width = (high - low) / BINS or 1.0
    counts = [0] * BINS
    for value in values:
        counts[min(int((float(value) - low) / width), BINS - 1)] += 1
    step, floor = (WIDTH - 40) / BINS, HEIGHT - 24
    parts = []
    for number, count in enumerate(counts):
        size = (floor - 20) * count / max(counts)
        x = 20 + step * number
        color = COST if low + width * (number + 0.5) > 0 else GAIN
        parts.append(
            f'<rect x="{x:.1f}" y="{floor - size:.1f}" width="{step - 1.5:.1f}" height="{size:.1f}" fill="{color}"/>'
        )
        if count:
            parts.append(_text(x + step / 2, floor - size - 4, str(count), "middle", size=10))
    zero = 20 + (WIDTH - 40) * -low / ((high - low) or 1.0)
    parts += [
        f'<line x1="{zero:.1f}" y1="8" x2="{zero:.1f}" y2="{floor}" stroke="{INK}" stroke-dasharray="3 3"/>',
        f'<line x1="20" y1="{floor}" x2="{WIDTH - 20}" y2="{floor}" stroke="{QUIET}"/>',
        _text(20, HEIGHT - 8, rounded(Decimal(low)), "start"),
        _text(WIDTH - 20, HEIGHT - 8, rounded(Decimal(high)), "end"),
    ]
    return _svg(HEIGHT, parts)


def dots(points: Sequence[tuple[datetime, Decimal, str]]) -> str:
    """Return a dot for each point in time; what it is stands in its title."""
    if not points:
        return ""
    times = [at.timestamp() for at, _, _ in points]
    low, high = min(0.0, *(float(v) for _, v, _ in points)), max(0.0, *(float(v) for _, v, _ in points))
    begin, length, span = min(times), (max(times) - min(times)) or 1.0, (high - low) or 1.0
    room, floor = WIDTH - 90, HEIGHT - 24
    zero = floor - (floor - 12) * -low / span
    parts = [f'<line x1="60" y1="{zero:.1f}" x2="{WIDTH - 20}" y2="{zero:.1f}" stroke="{INK}" stroke-dasharray="3 3"/>']
    for at, value, name in points:
        x = 64 + room * (at.timestamp() - begin) / length
        y = floor - (floor - 12) * (float(value) - low) / span
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COST if value > 0 else GAIN}" fill-opacity="0.55">'
            f"<title>{escape(name)}: {rounded(value)}</title></circle>"
        )
    first, last = min(at for at, _, _ in points), max(at for at, _, _ in points)
    parts += [
        _text(54, 16, rounded(Decimal(high)), "end"),
        _text(54, floor, rounded(Decimal(low)), "end"),
        _text(60, HEIGHT - 8, f"{first:%Y-%m-%d %H:%M:%S}Z", "start"),
        _text(WIDTH - 20, HEIGHT - 8, f"{last:%Y-%m-%d %H:%M:%S}Z", "end"),
    ]
    return _svg(HEIGHT, parts)


def ranges(rows: Iterable[tuple[str, Decimal | None, Decimal | None]]) -> str:
    """Return bars to the median, and lighter to the 95th percentile."""
    known = [(label, p50, p95) for label, p50, p95 in rows if p50 is not None and p95 is not None]
    if not known:
        return ""
    longest = max(*(float(p95) for _, _, p95 in known), 1e-9)
    label_width = 170
    room = WIDTH - label_width - 120
    parts = []
    for number, (label, p50, p95) in enumerate(known):
        top = 4 + ROW * number
        whole, half = (max(room * max(float(p), 0.0) / longest, 1.0) for p in (p95, p50))
        parts += [
            _text(label_width - 8, top + 15, label, "end"),
            f'<rect x="{label_width}" y="{top + 3}" width="{whole:.1f}" height="{ROW - 10}" fill="{QUIET}"/>',
            f'<rect x="{label_width}" y="{top + 3}" width="{half:.1f}" height="{ROW - 10}" fill="{INK}"/>',
            _text(label_width + whole + 6, top + 15, f"{rounded(p50)} / {rounded(p95)}", "start"),
        ]
    return _svg(ROW * len(known) + 8, parts)


def rounded(value: Decimal | None, digits: int = 2) -> str:
    """Return a figure for people, a dash for one that is not known."""
    return f"{value:,.{digits}f}" if value is not None else "-"


def _slippage(groups: Rows) -> str:
    return bars((_name(row), row["slippage_bps"], f"  ({row['with_arrival']})") for row in groups)


def _shortfall(groups: Rows) -> str:
    both = (("", "implementation_shortfall_bps"), (" fees", "fees_bps"))
    return bars((f"{_name(row)}{suffix}", row[name], "") for row in groups for suffix, name in both)


def _latency(group: Mapping[str, Any] | None) -> str:
    """Show the stages of one group: quantiles of several cannot be put together."""
    if group is None:
        return ""
    told = group["latency_ms"]
    return ranges((name, told[stage]["p50"], told[stage]["p95"]) for stage, name in _STAGES.items())


def _points(orders: Rows) -> Sequence[tuple[datetime, Decimal, str]]:
    return [
        (datetime.fromisoformat(order["placed_at"]), order["slippage_bps"], f"{order['id']} {order['symbol']}")
        for order in orders
        if order["slippage_bps"] is not None
    ]


def _name(row: Mapping[str, Any] | None) -> str:
    return str(row["key"] or "(no strategy)")[:18] if row is not None else "nothing"


def _text(x: float, y: float, text: str, anchor: str, *, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{INK}">{escape(text)}</text>'


def _svg(height: int, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        f' font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )
