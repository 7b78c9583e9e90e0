"""The judge is judged: from books in which all is well, each falsification is found."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.campaign.processes.judge import recovery, violations
from tests.campaign.processes.ledgers import Fact, Ledgers, OrderRecord
from tests.faults.audit import Books

START = datetime(2026, 1, 1, tzinfo=UTC)
FENCE_S = 10
Raw = dict[str, Any]


def _facts(*kinds: str, **documents: Raw) -> list[Raw]:
    return [
        {"seq": number, "kind": kind, "at": START + timedelta(seconds=number), "document": documents.get(kind, {})}
        for number, kind in enumerate(kinds, start=1)
    ]


def _attempt(order_id: str, number: int, client_id: str, state: str = "CLOSED") -> Raw:
    return {"order_id": order_id, "attempt": number, "client_order_id": client_id, "state": state, "outcome": None,
            "venue_order_id": f"v-{client_id}", "signed_at": START, "left_at": START}  # fmt: skip


def _placed(client_id: str, status: str = "FILLED", filled: str = "2") -> Raw:
    return {"clientOrderId": client_id, "status": status, "origQty": "2", "price": "100", "executedQty": filled,
            "cummulativeQuoteQty": str(Decimal(filled) * 100), "time": 1000, "updateTime": 2000}  # fmt: skip


def _trade(client_id: str) -> Raw:
    return {"clientOrderId": client_id, "id": 1, "qty": "2", "price": "100", "commission": "0.1",
            "commissionAsset": "BTC"}  # fmt: skip


def _fill(order_id: str, client_id: str) -> Raw:
    return {"order_id": order_id, "venue_order_id": f"v-{client_id}", "trade_id": "1", "last_qty": Decimal(2),
            "last_px": Decimal(100), "commission": Decimal("0.1"), "commission_asset": "BTC"}  # fmt: skip


def _honest() -> Raw:
    """One order that was filled at its second attempt, one that the venue refused, one that was canceled unfilled."""
    never = {
        "attempt": None,
        "reason": {"code": "NEVER_PLACED"},
        "ts_event": (START + timedelta(seconds=11)).isoformat(),
    }
    filled = _facts("ADMITTED", "SUBMITTED", "SUBMIT_UNKNOWN", "NEVER_PLACED", "SUBMITTED", "FILLED", "FINALIZED",
                    NEVER_PLACED=never, FILLED={"fill": {"last_qty": "2"}})  # fmt: skip
    filled[1]["document"], filled[4]["document"] = {"attempt": 1}, {"attempt": 2}
    paid = {"cum_qty": "2", "cum_quote_qty": "200", "quantity": "2", "ticket": {},
            "commissions": [{"asset": "BTC", "amount": "0.1"}]}  # fmt: skip
    nothing = {"cum_qty": "0", "cum_quote_qty": "0", "quantity": "2", "ticket": {}}
    return {
        "orders": {
            "a": {"status": "FILLED", "document": paid, "facts": filled},
            "b": {"status": "REJECTED", "document": nothing,
                  "facts": _facts("ADMITTED", "SUBMITTED", "REJECTED", "FINALIZED")},
            "c": {"status": "CANCELED", "document": nothing,
                  "facts": _facts("ADMITTED", "SUBMITTED", "ACCEPTED", "CANCEL_REQUESTED", "CANCELED", "FINALIZED")},
        },
        "attempts": [_attempt("a", 1, "a", "VOID"), _attempt("a", 2, "a2"), _attempt("b", 1, "b"),
                     _attempt("c", 1, "c")],
        "fills": [_fill("a", "a2")],
        "placed": [_placed("a2"), _placed("c", "CANCELED", "0")],
        "traded": [_trade("a2")],
        "posts": [{"newClientOrderId": "a"}, {"newClientOrderId": "a2"}, {"newClientOrderId": "c"},
                  {"newClientOrderId": "b", "refused": -2010}],
    }  # fmt: skip


def _ledgers(raw: Raw) -> Ledgers:
    orders = {
        name: OrderRecord(
            name, order["status"], len(order["facts"]), order["document"],
            [Fact(fact["seq"], fact["kind"], fact["at"], fact["document"]) for fact in order["facts"]],
        )
        for name, order in raw["orders"].items()
    }  # fmt: skip
    books = Books(raw["attempts"], raw["fills"], (), raw["placed"], raw["traded"], raw["posts"])
    return Ledgers(books, orders, raw.get("left_over", ()))


def _verdict(raw: Raw) -> list[str]:
    return violations(_ledgers(raw), fence_s=FENCE_S, max_notional=Decimal(1000))


def _say(raw: Raw, order: str, **changes: Any) -> None:
    raw["orders"][order].update(changes)


FALSIFICATIONS: dict[str, tuple[Callable[[Raw], Any], str]] = {
    "sent twice": (lambda raw: raw["posts"].append({"newClientOrderId": "c"}), "sent 2 times"),
    "sent unjournaled": (lambda raw: raw["posts"].append({"newClientOrderId": "x"}), "sent without a journal"),
    "unknown at the venue": (lambda raw: raw["placed"].append(_placed("x")), "not ours"),
    "twice under one id": (lambda raw: raw["placed"].append(_placed("a2")), "2 times at the venue"),
    "two for one ticket": (lambda raw: raw["placed"].append(_placed("a")), "2 orders at the venue"),
    "wrongly never placed": (lambda raw: raw["placed"].append(_placed("a")), "taken for NEVER_PLACED, and it is at"),
    "concluded too early": (
        lambda raw: raw["orders"]["a"]["facts"][3]["document"].update(ts_event=START.isoformat()),
        "never placed after 0:00:00",
    ),
    "a trade is missing": (lambda raw: raw["fills"].clear(), "only there"),
    "a trade is invented": (lambda raw: raw["traded"].clear(), "only here"),
    "a fee is off in the last digit": (
        lambda raw: raw["orders"]["a"]["document"]["commissions"][0].update(amount="0.10000001"), "a FILLED",
    ),
    "the cost is off": (lambda raw: raw["orders"]["a"]["document"].update(cum_quote_qty="200.1"), "a FILLED"),
    "rejected without a refusal": (lambda raw: raw["posts"][3].pop("refused"), "rejected without a refusal"),
    "rejected, and filled": (lambda raw: raw["placed"].append(_placed("b")), "rejected without a refusal"),
    "still open there": (lambda raw: raw["placed"][1].update(status="NEW"), "open at the venue"),
    "filled from nothing": (lambda raw: raw["placed"].pop(0), "filled, and not at the venue"),
    "above the limit": (lambda raw: raw["placed"][0].update(price="1000"), "above the limit"),
    "money promised twice": (
        lambda raw: raw["attempts"][2].update(outcome="Account has insufficient balance"), "had no balance",
    ),
    "a fact is missing": (lambda raw: raw["orders"]["c"]["facts"].__setitem__(2, {**raw["orders"]["c"]["facts"][2],
                                                                                  "seq": 7}), "the record has facts"),
    "facts out of time": (lambda raw: raw["orders"]["c"]["facts"][2].update(at=START), "not in the order of time"),
    "never finalized": (lambda raw: raw["orders"]["c"]["facts"].pop(), "the record ends with"),
    "stuck": (lambda raw: _say(raw, "c", status="IN_DOUBT"), "has not ended"),
    "canceled by nobody": (
        lambda raw: (raw["placed"].pop(1), raw["orders"]["c"]["facts"][3].update(kind="ACCEPTED")), "nobody asked",
    ),
    "something is left over": (lambda raw: raw.update(left_over=["5 still reserved"]), "5 still reserved"),
}  # fmt: skip


def test_books_in_which_all_is_well_have_no_violations() -> None:
    assert _verdict(_honest()) == []


@pytest.mark.parametrize("name", FALSIFICATIONS)
def test_a_falsification_is_found(name: str) -> None:
    falsify, wanted = FALSIFICATIONS[name]
    raw = copy.deepcopy(_honest())
    falsify(raw)
    found = _verdict(raw)
    assert any(wanted in violation for violation in found), found


def _amended(gap_ms: int) -> Raw:
    raw = _honest()
    raw["orders"]["a"]["facts"][2]["kind"] = "REPLACED"
    raw["orders"]["a"]["facts"][3]["kind"] = "REPLACED"
    raw["placed"] = [_placed("a", "CANCELED", "0"), {**_placed("a2"), "time": 2000 + gap_ms}, raw["placed"][1]]
    return raw


def test_an_amended_order_may_be_at_the_venue_twice_but_never_at_once() -> None:
    assert _verdict(_amended(gap_ms=0)) == []
    assert any("open at once" in violation for violation in _verdict(_amended(gap_ms=-1)))


def test_recovery_is_measured_from_the_kill_to_the_last_order_in_flight() -> None:
    ledgers = _ledgers(_honest())
    killed = [(START + timedelta(seconds=2.5), "worker"), (START + timedelta(seconds=90), "worker")]
    # At 2.5 s orders a, b and c are sent and not answered; all have moved at 3 s. At 90 s nothing is in flight.
    took = {"p50": 0.5, "p95": 0.5, "max": 0.5}
    assert recovery(ledgers, killed) == {"worker": {**took, "n": 1}, "worker, each order": {**took, "n": 3}}
