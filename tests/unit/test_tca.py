"""The page of `volex tca` and its times; the loops that feed it go on whatever happens."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest
import typer

from cli.moments import moment
from cli.tca import COLUMNS
from cli.tca_page import bars, dots, histogram, page, ranges
from domain.errors import StoreUnavailable
from starter import upkeep

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def group(key: str, **changes: Any) -> dict[str, Any]:
    """A group as the REST interface tells it."""
    none = {"p50": None, "p95": None}
    return {
        "key": key, "mode": "paper", "currency": "USDT", "orders": 2, "filled": 2, "fill_ratio": Decimal("0.5"),
        "notional": 100, "with_arrival": 2, "slippage_bps": Decimal("1.25"), "slippage": none, "mid_slippage_bps": None,
        "fees_bps": Decimal(10), "implementation_shortfall": Decimal("-0.5"), "implementation_shortfall_bps": -50,
        "latency_ms": {name: {"p50": Decimal("1.5"), "p95": 3} for name in
                       ("admit", "send", "venue", "first_fill", "last_fill", "persist")}, **changes,
    }  # fmt: skip


def order(slippage: Decimal | None) -> dict[str, Any]:
    return {"id": "a" * 16, "symbol": "BTC/USDT", "placed_at": "2026-11-24T12:00:00.000000Z", "slippage_bps": slippage}


def test_the_page_is_well_formed_and_tells_no_word_as_markup() -> None:
    groups = [group('<b>&"x'), group("", slippage_bps=None, fill_ratio=None)]
    made = page(groups, [order(Decimal("-2")), order(None)], columns=COLUMNS, title="<t>")
    assert "<b>" not in made and "&lt;b&gt;&amp;" in made and "(no strategy)" in made
    assert made.count("<circle") == 1
    assert "<script" not in made and "http" not in made, "nothing from elsewhere"
    body = made[made.index("<html") :].replace('<meta charset="utf-8">', "")
    assert ElementTree.fromstring(body).tag == "html"


def test_gains_lie_left_of_the_line_and_costs_right_of_it() -> None:
    drawn = ElementTree.fromstring(bars([("cost", Decimal(3), ""), ("gain", Decimal(-1), ""), ("?", None, "")]))
    [line] = drawn.findall("line")
    zero = float(line.attrib["x1"])
    cost, gain = drawn.findall("rect")
    assert float(cost.attrib["x"]) == pytest.approx(zero)
    assert float(gain.attrib["x"]) + float(gain.attrib["width"]) == pytest.approx(zero, abs=0.2)
    assert float(cost.attrib["width"]) == pytest.approx(3 * float(gain.attrib["width"]), abs=0.3)


def test_every_value_is_in_one_bar_of_the_histogram() -> None:
    values = [Decimal(n) for n in (-5, 0, 0, 3, 7)]
    counts = [text.text for text in ElementTree.fromstring(histogram(values)).findall("text")][:-2]
    assert sum(int(count or 0) for count in counts) == len(values)


@pytest.mark.parametrize(
    "drawn",
    [
        lambda: histogram([Decimal(0)]),
        lambda: dots([(NOW, Decimal(0), "x")]),
        lambda: bars([("zero", Decimal(0), "")]),
        lambda: ranges([("zero", Decimal(0), Decimal(0))]),
    ],
)
def test_a_plot_of_nothing_but_zero_has_a_size(drawn: Callable[[], str]) -> None:
    assert "nan" not in drawn() and ElementTree.fromstring(drawn()).tag == "svg"


def test_what_is_not_known_makes_no_plot() -> None:
    assert (bars([("?", None, "")]), histogram([]), dots([]), ranges([("?", None, None)])) == ("", "", "", "")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
    ],
)
def test_times_are_ago_or_iso(text: str, wanted: datetime) -> None:
    assert moment(text, NOW) == wanted


@pytest.mark.parametrize("text", ["", "yesterday", "0d", "-1h", "7w", "999999d", "24h "])
def test_what_is_no_time_is_a_wrong_argument(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment(text, NOW)


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ValueError("a defect")])
async def test_upkeep_goes_on_after_a_failure(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEASURE_INTERVAL_S", "BACKLOG_PAUSE_S", "THIN_INTERVAL_S"):
        monkeypatch.setattr(upkeep, name, 0)
    rounds = {"measured": 0, "thinned": 0}
    both = asyncio.Event()

    def turn(name: str) -> None:
        rounds[name] += 1
        if min(rounds.values()) >= 3:
            both.set()
        if rounds[name] == 1:
            raise failure

    async def measure() -> int:
        turn("measured")
        return 1000

    async def thin() -> dict[str, int]:
        turn("thinned")
        return {"marks": 1}

    tasks = [asyncio.create_task(upkeep.keep_measuring(measure)), asyncio.create_task(upkeep.keep_thin(thin))]
    try:
        await asyncio.wait_for(both.wait(), 10)
    finally:
        for task in tasks:
            task.cancel()
