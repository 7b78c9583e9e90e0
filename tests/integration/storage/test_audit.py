"""The audit log: written by the database, refused to be changed, and any row that was changed all the same is named."""

import asyncio
import hashlib
import json
import os
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain import audit
from domain.approvals import ApprovalWord
from domain.audit import GENESIS, Checkpoint, Entry, canonical
from domain.events import Reason
from domain.reports import SubmitOutcome, SubmitVerdict, VenueAnswer, VenueOrderStatus
from exchanges.answers import answer_of
from exchanges.ccxt_transport import HttpCall
from observability.logs import hide
from storage import kill_switch
from storage.approvals import SqlApprovalStore
from storage.audit_store import SqlAuditStore, verify, verify_in
from tests.factories import NOW, make_fill, make_report, make_request, make_terms, make_validated
from tests.integration.storage.conftest import ACCOUNT, Life, Rows
from tests.integration.storage.tampering import Tamperer

TAMPERINGS = int(os.environ.get("AUDIT_TAMPERINGS", "150"))
"""In CI a slice; `AUDIT_TAMPERINGS=1000 AUDIT_SEED=7 pytest …/test_audit.py` runs as many as wanted."""
SEED = int(os.environ.get("AUDIT_SEED", "1"))


async def checkpoint(engine: AsyncEngine, store: SqlAuditStore | None = None) -> Checkpoint | None:
    """Cover all there is."""
    store = store or SqlAuditStore(engine, made_by="test", clock=lambda: NOW)
    await store.checkpoint()
    return await store.checkpoint()


async def fill(life: Life, engine: AsyncEngine) -> None:
    """Write a little of everything, with checkpoints between."""
    await life.fund(USDT="100000", BTC="10")
    for number in (1, 2, 3):
        order = await life.resting(f"filled-{number}", venue_order_id=f"7{number}")
        trades = [make_fill(str(number), venue_order_id=f"7{number}")]
        report = make_report(venue_order_id=f"7{number}", status=VenueOrderStatus.CLOSED, cum_qty=Decimal("0.1"))
        await life.store.record_report(ACCOUNT, order.order_id, report, trades=trades, now=NOW)
        await life.store.finalize(ACCOUNT, order.order_id, now=NOW)
    for number in (1, 2):
        attempt = await life.sent(make_request(f"refused-{number}"))
        answer = VenueAnswer(http_status=400, body=f'{{"code":-201{number}}}')
        reason = Reason(code="INSUFFICIENT_FUNDS", text="the venue refuses the order")
        outcome = SubmitOutcome(verdict=SubmitVerdict.REFUSED, reason=reason, answer=answer)
        await life.store.record_outcome(attempt, outcome, now=NOW)
    for kind, why in (("ledger", "one"), ("ledger-2", "two")):
        await life.store.open_case(ACCOUNT, order.order_id, reason=Reason(code=kind, text=why), now=NOW)
    await life.store.close_case(ACCOUNT, order.order_id, "ledger", resolution="seen", now=NOW)
    await checkpoint(engine)
    await life.store.deny(make_request("denied"), Reason(code="NO", text="no"), terms=make_terms(), now=NOW)
    await kill_switch.engage(engine, "symbol:ETH/USDT", reason="a test", by="jo")
    await kill_switch.lift(engine, "symbol:ETH/USDT", by="jo", why="over")
    approvals = SqlApprovalStore(engine)
    await life.limit(approval_above_notional="1")
    for number in (1, 2):
        request = make_request(f"held-{number}")
        await life.admit(request)
        await approvals.ask(ACCOUNT, request.order_id)
    word = ApprovalWord(by="jo", because="fine")
    later = NOW + timedelta(minutes=1)
    found = {"validated": make_validated(request), "terms": make_terms(), "now": later}
    await approvals.approve(ACCOUNT, request.order_id, word, **found)
    await life.limit()
    await checkpoint(engine)


@pytest.fixture
async def full(life: Life, engine: AsyncEngine) -> AsyncEngine:
    """A ledger with a little of everything, all of it covered."""
    await fill(life, engine)
    return engine


async def test_untouched_ledger_is_found_whole_and_covered(full: AsyncEngine) -> None:
    verdict = await verify(full)
    assert verdict.found == []
    assert verdict.entries > 25 and verdict.chains > 8
    assert (verdict.checkpoints, verdict.uncovered) == (2, 0)


async def test_every_random_tampering_is_found_and_named_to_the_row(full: AsyncEngine) -> None:
    kinds: Counter[str] = Counter()
    async with full.connect() as connection, connection.begin():
        tamperer = Tamperer(connection, SEED)
        await tamperer.prepare()
        for number in range(TAMPERINGS):
            savepoint = await connection.begin_nested()
            deed = await tamperer.do_something()
            found = (await verify_in(connection)).found
            await savepoint.rollback()
            told = f"{number}: {deed.told}: {found}"
            assert any(deed.names_it(tampering) for tampering in found), told
            assert {tampering.chain for tampering in found} <= deed.chains | {None}, told
            kinds[deed.told.split()[0]] += 1
        assert (await verify_in(connection)).found == []
    assert set(kinds) == {"change", "delete", "insert", "swap"}, kinds


async def test_entry_says_who_did_what_with_which_numbers_and_is_hashed_over_all_of_it(
    life: Life, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    entries = await rows("SELECT *, record::text AS told FROM audit_events WHERE chain LIKE 'order:%' ORDER BY seq")
    assert [entry.action for entry in entries] == ["ADMITTED", "SUBMITTED", "ACCEPTED"]
    assert [entry.actor for entry in entries] == ["test", "test", "test"]
    assert json.loads(entries[0].told)["order"]["ticket"]["quantity"] == "0.1"
    assert {entry.chain for entry in entries} == {f"order:{ACCOUNT}/{order.order_id}"}
    text_of = b"".join(
        b"-," if value is None else str(len(value)).encode() + b":" + value + b"," for value in _columns(entries[0])
    )
    assert hashlib.sha256(text_of).digest() == entries[0].hash, "computed here by hand, from what is written down"
    assert [entry.prev_hash for entry in entries] == [GENESIS, entries[0].hash, entries[1].hash]


def _columns(entry: Any) -> list[bytes | None]:
    micros = (entry.recorded_at.replace(tzinfo=None) - audit._EPOCH.replace(tzinfo=None)) // timedelta(microseconds=1)
    names = ("entry_id", "chain", "seq", "action", "actor", "writer")
    evidence = json.dumps(json.loads(entry.evidence), ensure_ascii=False) if entry.evidence else None
    told = [*(str(getattr(entry, name)) for name in names), entry.told, evidence, str(micros), entry.prev_hash.hex()]
    return [value.encode() if value is not None else None for value in told]


@pytest.mark.parametrize("table", ["audit_events", "audit_bodies", "audit_checkpoints", "audit_heads", "limit_sets"])
@pytest.mark.parametrize("statement", ["UPDATE {0} SET hash = hash", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"])
async def test_database_refuses_to_change_a_row_of_the_log(engine: AsyncEngine, table: str, statement: str) -> None:
    statement = statement.replace("hash = hash", "source = source") if table == "limit_sets" else statement
    with pytest.raises(DBAPIError, match="facts are never changed or deleted"):
        async with engine.begin() as connection:
            await connection.execute(text(statement.format(table)))


async def test_appending_by_hand_is_chained_by_the_database(engine: AsyncEngine, rows: Rows) -> None:
    statement = "INSERT INTO audit_events (chain, action, actor, record, hash) VALUES ('x', 'made', 'jo', '{}', 'mine')"

    async def append() -> None:
        async with engine.begin() as connection:
            await connection.execute(text(statement))

    await asyncio.gather(*(append() for _ in range(8)))
    assert [row.seq for row in await rows("SELECT seq FROM audit_events WHERE chain = 'x' ORDER BY seq")] == [
        *range(1, 9)
    ]
    assert (await verify(engine)).found == []


async def test_checkpoint_waits_for_transactions_that_hold_an_earlier_number(engine: AsyncEngine) -> None:
    append = text("INSERT INTO audit_events (chain, action, actor, record) VALUES (:chain, 'made', 'jo', '{}')")
    store = SqlAuditStore(engine, made_by="test", clock=lambda: NOW)
    async with engine.connect() as slow:
        await slow.execute(append, {"chain": "slow"})
        async with engine.begin() as quick:
            await quick.execute(append, {"chain": "quick"})
        assert [await store.checkpoint() for _ in range(3)] == [None, None, None], "a lower number may still appear"
        await slow.commit()
    made = await store.checkpoint()
    assert made is not None and (made.entries, made.chains, made.upto) == (2, 2, 2)
    assert await checkpoint(engine, store) is None, "nothing is new"
    assert (await verify(engine)).found == []


async def test_two_that_make_checkpoints_at_once_make_one(engine: AsyncEngine, life: Life) -> None:
    await life.fund(USDT="1000")
    await life.resting()
    stores = [SqlAuditStore(engine, made_by=name, clock=lambda: NOW) for name in "ab"]
    for store in stores:
        await store.checkpoint()
    made = await asyncio.gather(*(store.checkpoint() for store in stores))
    assert sum(one is not None for one in made) == 1
    assert (await verify(engine)).found == []


async def test_ledger_cut_back_to_an_earlier_checkpoint_is_found_by_the_copy_that_was_kept(
    full: AsyncEngine, rows: Rows
) -> None:
    newest = (await rows("SELECT * FROM audit_checkpoints ORDER BY number DESC LIMIT 1"))[0]
    assert (await verify(full, expected=newest.hash)).found == []
    async with full.connect() as connection, connection.begin():
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in ("audit_heads", "audit_checkpoints"):
            await connection.execute(text(f"DELETE FROM {table} WHERE number = :number"), {"number": newest.number})
        assert (await verify_in(connection)).found == [], "nothing inside the ledger can tell"
        (found,) = (await verify_in(connection, expected=newest.hash)).found
        await connection.rollback()
    assert (found.kind, found.table) == ("missing", "audit_checkpoints")


async def test_protection_that_is_switched_off_or_gone_is_named(full: AsyncEngine) -> None:
    async with full.connect() as connection, connection.begin():
        await connection.execute(text("ALTER TABLE order_events DISABLE TRIGGER order_events_audited"))
        await connection.execute(text("DROP TRIGGER audit_events_append_only ON audit_events"))
        found = (await verify_in(connection)).found
        await connection.rollback()
    assert [(one.kind, one.row) for one in found] == [
        ("missing", "tgname=audit_events_append_only"),
        ("changed", "tgname=order_events_audited"),
    ]


async def test_api_key_is_in_the_log_with_who_made_and_revoked_it_and_without_its_digest(
    engine: AsyncEngine, rows: Rows
) -> None:
    columns = "(key_id, name, digest, scopes, created_by)"
    for statement in (
        f"INSERT INTO api_keys {columns} VALUES ('k1', 'agent', decode(repeat('ab', 32), 'hex'), '{{read}}', 'jo')",
        "UPDATE api_keys SET revoked_by = 'ann', revoked_at = now(), revoked_because = 'lost'",
    ):
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    told = await rows("SELECT chain, action, actor, record::text AS record FROM audit_events ORDER BY seq")
    assert [(row.chain, row.action, row.actor) for row in told] == [
        ("key:k1", "api_keys.insert", "jo"),
        ("key:k1", "api_keys.update", "ann"),
    ]
    assert not any("digest" in row.record or "abab" in row.record for row in told)
    assert (await verify(engine)).found == []


async def test_one_order_is_verified_alone(full: AsyncEngine, rows: Rows) -> None:
    first, other = [row.order_id for row in await rows("SELECT order_id FROM orders ORDER BY number LIMIT 2")]
    async with full.connect() as connection, connection.begin():
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text("UPDATE fills SET last_px = 1 WHERE order_id = :of"), {"of": first})
        (found,) = (await verify_in(connection, order=f"{ACCOUNT}/{first}")).found
        assert (await verify_in(connection, order=f"{ACCOUNT}/{other}")).found == []
        await connection.rollback()
    assert (found.kind, found.table, found.chain) == ("changed", "fills", f"order:{ACCOUNT}/{first}")


@pytest.mark.parametrize(
    "protection",
    ["hash_of", "check_checkpoints", "check_heads", "differences"],
)
async def test_tampering_stays_unseen_where_a_protection_is_switched_off(
    full: AsyncEngine, protection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part of the check finds what no other does: without it, a deed that it is for goes unseen."""
    deeds = {
        "hash_of": "UPDATE audit_events SET actor = 'nobody' WHERE seq = 2 AND chain LIKE 'order:%'",
        "check_checkpoints": "UPDATE audit_checkpoints SET made_by = 'nobody'",
        "check_heads": "DELETE FROM audit_events WHERE chain LIKE 'kill:%'; DELETE FROM kill_events",
        "differences": "UPDATE kill_events SET why = 'nothing'",
    }
    async with full.connect() as connection, connection.begin():
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in deeds[protection].split(";"):
            await connection.execute(text(statement))
        seen = (await verify_in(connection)).found
        _switch_off(protection, monkeypatch)
        unseen = (await verify_in(connection)).found
        await connection.rollback()
    assert seen and not unseen


def _switch_off(protection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> list[Any]:
        return []

    if protection == "hash_of":
        monkeypatch.setattr("domain.audit.hash_of", lambda row: row.hash)
    elif protection == "differences":
        monkeypatch.setattr("storage.audit_mirrors.differences", nothing)
    else:
        monkeypatch.setattr(f"storage.audit_store.{protection}", lambda *_, **__: [])


async def test_raw_answer_is_kept_apart_under_its_hash_with_secrets_masked(
    life: Life, engine: AsyncEngine, rows: Rows
) -> None:
    await life.fund(USDT="1000")
    attempt = await life.sent(make_request())
    hide("a-key-of-this-very-test")
    body = '{"orderId":7,"echo":"a-key-of-this-very-test","signature":"0123abcd","note":"\\u00e9\x00"}'
    call = HttpCall("POST", status=200, headers={"x-mbx-uuid": "u-1"}, body=body)
    report = make_report(client_order_id=attempt.client_order_id)
    outcome = SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=report, answer=answer_of(call))
    await life.store.record_outcome(attempt, outcome, now=NOW)
    (kept,) = await rows("SELECT body, hash FROM audit_bodies")
    assert "a-key-of-this-very-test" not in kept.body and "0123abcd" not in kept.body and '"orderId":7' in kept.body
    assert hashlib.sha256(kept.body.encode()).digest() == kept.hash
    query = "SELECT evidence::text AS told FROM {} WHERE evidence ? 'answer'"
    for table in ("order_events", "audit_events"):
        (fact,) = await rows(query.format(table))
        told = json.loads(fact.told)
        assert told["status"] == "open", "the report that was made of it is there as before"
        assert told["answer"] == {"http_status": 200, "request_id": "u-1", "body_sha256": kept.hash.hex()}
    everything = await rows("SELECT outcome::text AS told FROM attempts")
    assert "a-key-of-this-very-test" not in str(everything) and "orderId" not in str(everything)
    assert (await verify(engine)).found == []


async def test_refusal_is_kept_with_the_answer_that_proves_it(life: Life, engine: AsyncEngine, rows: Rows) -> None:
    await life.fund(USDT="1000")
    attempt = await life.sent(make_request())
    answer = VenueAnswer(http_status=400, body='{"code":-2010}')
    reason = Reason(code="INSUFFICIENT_FUNDS", text="the venue refuses the order")
    outcome = SubmitOutcome(verdict=SubmitVerdict.REFUSED, reason=reason, answer=answer)
    await life.store.record_outcome(attempt, outcome, now=NOW)
    (fact,) = await rows("SELECT action, evidence->'answer'->>'http_status' AS status FROM audit_events WHERE seq = 3")
    assert (fact.action, fact.status) == ("REJECTED", "400")
    assert [row.body for row in await rows("SELECT body FROM audit_bodies")] == [answer.body]


def test_canonical_form_keeps_columns_apart() -> None:
    assert canonical(["ab", "c"]) != canonical(["a", "bc"])
    assert canonical([None]) != canonical(["-"]) and canonical([None]) != canonical([""])
    assert canonical(["é", 12, NOW, b"\x01"]).startswith("2:é,2:12,16:".encode())
    assert len(Entry._fields) == 11
