"""The ledger: what a restart finds again, whatever ended the run before."""

import json
from pathlib import Path

import pytest

from simulator.engine import Engine
from simulator.journal import Journal
from simulator.request_log import RequestLog
from tests.unit.simulator.engines import SYMBOL, D, engine_at, hold, place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "venue.jsonl"


def restarted(path: Path) -> Engine:
    engine = engine_at(journal=path)
    for entry in Journal(path).read():
        engine.remember(entry)
    return engine


def test_open_order_goes_on_after_a_restart_with_the_next_ids(path: Path) -> None:
    before = engine_at(journal=path)
    place(before, "0.9", "99", client_order_id="kept")
    hold(before, D(99))
    before.tick()
    after = restarted(path)
    order = after.find(SYMBOL, None, "kept")
    assert (order.status, order.executed, after.markets[SYMBOL].price) == ("PARTIALLY_FILLED", D("0.3"), 99)
    while order.is_open:
        after.tick()
    assert [(trade.trade_id, trade.quantity) for trade in order.trades] == [(n, D("0.3")) for n in (1, 2, 3)]
    assert place(after, "1", "90").order_id == 2
    assert (after.account.locked("USDT"), order.executed) == (90, D("0.9"))


def test_stop_that_has_not_triggered_is_remembered_as_such(path: Path) -> None:
    place(engine_at(journal=path), "1", side="SELL", type="STOP_LOSS", stop_price="98")
    after = restarted(path)
    (stop,) = after.open[SYMBOL].values()
    after.tick()
    assert (stop.triggered, stop.status) == (False, "NEW")
    hold(after, D(98))
    after.tick()
    assert stop.status == "FILLED"


def test_line_that_a_crash_cut_off_is_left_out_and_the_next_one_is_whole(path: Path) -> None:
    before = engine_at(journal=path)
    place(before, "1", "99", client_order_id="whole")
    with path.open("ab") as file:
        file.write(b'{"kind":"order","order":{"sym')
    after = restarted(path)
    assert [order.client_order_id for order in after.orders[SYMBOL]] == ["whole"]
    place(after, "1", "98", client_order_id="next")
    assert [json.loads(line)["order"]["clientOrderId"] for line in path.read_text().splitlines()] == ["whole", "next"]


def test_history_of_an_order_tells_each_step_and_survives(path: Path) -> None:
    before = engine_at(journal=path)
    order = place(before, "1", "99")
    before.fill_now(order, D("0.4"))
    before.cancel(order)
    steps = [(step["status"], step["executedQty"]) for step in order.history]
    assert steps == [("NEW", "0.00000000"), ("PARTIALLY_FILLED", "0.40000000"), ("CANCELED", "0.40000000")]
    assert restarted(path).orders[SYMBOL][0].history == order.history


def test_balance_that_was_set_survives(path: Path) -> None:
    engine_at(journal=path).set_balance("USDT", D("12.5"))
    assert restarted(path).account.free("USDT") == D("12.5")


def test_requests_that_change_something_survive_and_reads_do_not(path: Path) -> None:
    log = RequestLog(Journal(path))
    for method in ("GET", "POST", "DELETE"):
        record = log.arrived(method=method, path="/api/v3/order", parameters={"symbol": SYMBOL}, time_ms=1)
        record["accepted"] = True
        log.ended(record)
    assert [record["number"] for record in log.all()] == [1, 2, 3]
    later = RequestLog(Journal(None))
    for entry in Journal(path).read():
        later.remember(entry)
    assert later.all() == log.changes()
    assert later.arrived(method="POST", path="/", parameters={}, time_ms=2)["number"] == 4
