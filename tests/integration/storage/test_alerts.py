"""The notifier over a real ledger, a real HTTP receiver and a real mail server: at least once."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
import pytest_asyncio
from aiosmtpd.controller import Controller
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.alert_watch import VAULT_ROUNDS, AlertWatch
from alerting import MailChannel, MailServer, SlackChannel, WebhookChannel, sign
from domain.alerts import AlertChannel, Notice, VaultWord, WatchTerms
from domain.errors import NoticeNotDelivered
from domain.events import Reason
from embedded.child import free_port
from storage import cases, kill_switch
from storage.alerts import SqlAlertStore
from storage.database import in_transaction
from tests.alert_receiver import SECRET, Receiver
from tests.integration.storage.conftest import ACCOUNT, Rows

TERMS = WatchTerms(accounts=(ACCOUNT,))
RUNBOOK = "https://runbook.example/runbook"


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as serving:
        yield serving


@pytest.fixture
def make_watch(engine: AsyncEngine, receiver: Receiver) -> Callable[..., AlertWatch]:
    """Return a function that makes the watch of a process that has just started."""

    def make(holder: str = "w1", channels: Sequence[AlertChannel] | None = None, **more: Any) -> AlertWatch:
        own = [WebhookChannel(receiver.url, SecretStr(SECRET), runbook_url=RUNBOOK)] if channels is None else channels
        more = {"terms": TERMS, "vault_fails": lambda: False, **more}
        return AlertWatch(SqlAlertStore(engine), own, holder=holder, **more)

    return make


async def execute(engine: AsyncEngine, statement: str, **values: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def open_case(engine: AsyncEngine, code: str = "ORPHAN_ORDER", subject: str = "7") -> None:
    reason = Reason(code=code, text="an order nobody knows", numbers={"venue_order_id": subject})
    now = datetime.now(UTC)
    await in_transaction(
        engine, lambda connection: cases.open_case(connection, ACCOUNT, subject, reason, order_id=None, now=now)
    )


async def close_case(engine: AsyncEngine, code: str = "ORPHAN_ORDER", subject: str = "7") -> None:
    told = {"resolution": "it is gone", "now": datetime.now(UTC)}
    await in_transaction(engine, lambda connection: cases.close_case(connection, ACCOUNT, subject, code, **told))


async def retry_now(engine: AsyncEngine) -> None:
    """Let time pass: what waits for its next try is due."""
    await execute(engine, "UPDATE alert_deliveries SET next_try_at = clock_timestamp()")


async def test_a_case_is_told_once_signed_and_once_more_when_it_is_over(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch]
) -> None:
    watch = make_watch()
    await open_case(engine)
    for _ in range(3):
        await watch.round()
    assert receiver.alerts() == [("ORPHAN_ORDER", "firing")]
    headers, body = receiver.got[0]
    assert headers["X-Volex-Signature"] == sign(SECRET, timestamp=headers["X-Volex-Timestamp"], body=body)
    alert = json.loads(body)["alerts"][0]
    assert alert["annotations"]["runbook_url"] == f"{RUNBOOK}#orphans"
    assert "an order nobody knows (venue_order_id=7)" in alert["annotations"]["summary"]
    assert alert["labels"]["account"] == ACCOUNT
    await close_case(engine)
    for _ in range(3):
        await watch.round()
    assert receiver.alerts()[1:] == [("ORPHAN_ORDER", "resolved")]
    over = json.loads(receiver.got[1][1])["alerts"][0]
    assert over["fingerprint"] == alert["fingerprint"] and over["annotations"]["resolution"] == "it is gone"
    await watch.close()


async def test_what_could_not_be_delivered_is_told_after_a_restart_with_backoff(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch], rows: Rows
) -> None:
    receiver.status = 503
    watch = make_watch()
    await open_case(engine)
    waits = []
    for _ in range(4):
        await watch.round()
        row = (await rows("SELECT next_try_at - clock_timestamp() AS wait, last_error FROM alert_deliveries"))[0]
        waits.append(round(row.wait.total_seconds()))
        assert row.last_error == "webhook: answered 503", "what the receiver says, and where it is, may be secret"
        await retry_now(engine)
    assert waits == [2, 4, 8, 16]
    # The process dies; the matter is over before anybody was told that it had begun: both are told, in order.
    receiver.status = 200
    await close_case(engine)
    reborn = make_watch()
    await reborn.round()
    await reborn.round()
    assert receiver.alerts() == [("ORPHAN_ORDER", "firing"), ("ORPHAN_ORDER", "resolved")]
    assert not await rows("SELECT 1 FROM alert_deliveries WHERE delivered_at IS NULL")
    await watch.close()
    await reborn.close()


async def test_a_worker_that_dies_while_it_tells_leaves_the_notice_to_the_next(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch]
) -> None:
    class Dying:
        name = "webhook"

        async def send(self, notices: Sequence[Notice]) -> None:
            raise asyncio.CancelledError

        async def close(self) -> None: ...

    await open_case(engine)
    with pytest.raises(asyncio.CancelledError):
        await make_watch(channels=[Dying()]).round()
    heir = make_watch()
    await heir.round()
    assert receiver.alerts() == [], "it is the dead one's for a minute: it may have been told"
    await retry_now(engine)
    await heir.round()
    assert receiver.alerts() == [("ORPHAN_ORDER", "firing")]
    await heir.close()


async def test_one_process_watches_at_a_time_and_another_takes_over(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch], rows: Rows
) -> None:
    first, second = make_watch("w1"), make_watch("w2")
    await first.round()
    await open_case(engine)
    assert await second.round() == ()
    assert receiver.alerts() == []
    await asyncio.gather(first.round(), second.round(), first.round())
    assert receiver.alerts() == [("ORPHAN_ORDER", "firing")]
    await execute(engine, "UPDATE alert_watches SET held_until = clock_timestamp() - interval '1 second'")
    await close_case(engine)
    assert len(await second.round()) == 1, "the first has died: its lease is over"
    await second.close()
    await first.round()
    assert (await rows("SELECT holder FROM alert_watches"))[0][0] == "w1", "who leaves, leaves the turn at once"
    assert len(receiver.got) == 2
    await first.close()


async def test_two_processes_at_once_never_tell_twice(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch]
) -> None:
    """Even if two believe that it is their turn: a notice is claimed by one."""
    for number in range(30):
        await open_case(engine, subject=str(number))
    watches = [make_watch("same") for _ in range(4)]
    for _ in range(3):
        await asyncio.gather(*(watch.round() for watch in watches))
    assert receiver.alerts() == [("ORPHAN_ORDER", "firing")] * 30
    assert len(receiver.got) < 10, "many are told in few messages"
    for watch in watches:
        await watch.close()


async def test_a_case_that_came_and_went_between_two_looks_is_told(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch]
) -> None:
    await open_case(engine, subject="old")
    await close_case(engine, subject="old")
    await execute(engine, "UPDATE cases SET closed_at = closed_at - interval '2 minutes'")
    watch = make_watch()
    await watch.round()
    assert receiver.alerts() == [], "what was over before the first look is no news"
    await open_case(engine)
    await close_case(engine)
    await watch.round()
    await watch.round()
    assert receiver.alerts() == [("ORPHAN_ORDER", "firing"), ("ORPHAN_ORDER", "resolved")]
    await watch.close()


async def test_a_doubt_a_kill_switch_and_a_deadman_are_told(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch]
) -> None:
    watch = make_watch()
    await open_case(engine, code="IN_DOUBT")
    await kill_switch.engage(engine, "firm", reason="prices look wrong", by="jo")
    await execute(
        engine,
        "INSERT INTO deadman_switches (scope, timeout_s, stop_admission, armed_by, fired_at) "
        "VALUES ('firm', 5, false, 'jo', clock_timestamp())",
    )
    await watch.round()
    told = {"ORDER_IN_DOUBT", "KILL_SWITCH_ON", "DEADMAN_FIRED"}
    assert {code for code, _ in receiver.alerts()} == told
    await execute(engine, "DELETE FROM kill_switches")
    await watch.round()
    assert receiver.alerts()[-1] == ("KILL_SWITCH_ON", "resolved")
    await kill_switch.engage(engine, "firm", reason="again", by="jo")
    await watch.round()
    assert receiver.alerts()[-1] == ("KILL_SWITCH_ON", "firing"), "another switch of the same scope is another alert"
    await watch.close()


@pytest.mark.parametrize(
    ("column", "code"),
    [("beat_at", "FEED_STALE"), ("balances_at", "VENUE_SILENT"), ("reconciled_at", "RECONCILIATION_LATE")],
)
async def test_what_is_too_old_is_told_and_may_come_again(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch], column: str, code: str
) -> None:
    old, fresh = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC)
    await execute(
        engine,
        "INSERT INTO account_states (account, balances_at, reconciled_at, beat_at, served_since) "
        "VALUES (:account, now(), now(), now(), now())",
        account=ACCOUNT,
    )
    watch = make_watch()
    await execute(engine, f"UPDATE account_states SET {column} = :at", at=old)
    await watch.round()
    assert receiver.alerts() == [], "who has just begun to watch may be what it waited for"
    await execute(engine, "UPDATE alert_watches SET held_since = clock_timestamp() - interval '1 hour'")
    await watch.round()
    await execute(engine, f"UPDATE account_states SET {column} = :at", at=fresh)
    await watch.round()
    await execute(engine, f"UPDATE account_states SET {column} = :at", at=old)
    await watch.round()
    assert receiver.alerts() == [(code, "firing"), (code, "resolved"), (code, "firing")]
    await watch.close()


async def test_vault_is_down_after_several_looks_and_up_after_one(
    receiver: Receiver, make_watch: Callable[..., AlertWatch], engine: AsyncEngine
) -> None:
    fails = True
    watch = make_watch(vault_fails=lambda: fails)
    for _ in range(VAULT_ROUNDS - 1):
        await watch.round()
    assert receiver.alerts() == []
    await watch.round()
    assert receiver.alerts() == [("VAULT_DOWN", "firing")]
    changed = await SqlAlertStore(engine).watch(TERMS, channels=["webhook"], vault=VaultWord.UNSURE)
    assert changed == [], "who has just taken over does not know, and says neither"
    fails = False
    await watch.round()
    assert receiver.alerts()[-1] == ("VAULT_DOWN", "resolved")
    await watch.close()


async def test_what_is_muted_is_not_told(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch]
) -> None:
    watch = make_watch(terms=TERMS.model_copy(update={"mute": ("ORPHAN_ORDER",)}))
    await open_case(engine)
    await open_case(engine, code="TRADES_MISSING")
    await watch.round()
    assert receiver.alerts() == [("TRADES_MISSING", "firing")]
    await watch.close()


async def test_after_three_days_a_notice_is_given_up(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch], rows: Rows
) -> None:
    receiver.status = 500
    watch = make_watch()
    await open_case(engine)
    await watch.round()
    await execute(engine, "UPDATE alert_deliveries SET queued_at = queued_at - interval '73 hours'")
    await retry_now(engine)
    await watch.round()
    assert len(await rows("SELECT 1 FROM alert_deliveries WHERE given_up_at IS NOT NULL")) == 1
    await retry_now(engine)
    receiver.status = 200
    await watch.round()
    assert receiver.alerts() == []
    await watch.close()


async def test_slack_gets_one_text_in_which_a_venues_words_are_no_mention(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch]
) -> None:
    await kill_switch.engage(engine, "firm", reason="<!channel> & more", by="jo")
    watch = make_watch(channels=[SlackChannel(receiver.url, runbook_url=RUNBOOK)])
    await watch.round()
    headers, body = receiver.got[0]
    told = json.loads(body)["text"]
    assert told.startswith("[CRITICAL] KILL_SWITCH_ON: firm: &lt;!channel&gt; &amp; more (by jo")
    assert told.endswith(f"{RUNBOOK}#kill-switch")
    assert "X-Volex-Signature" not in headers
    await watch.close()


class Postbox:
    """Handler of a real SMTP server: keeps what it takes."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.to: list[list[str]] = []
        self.refuses = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd's name
        if self.refuses:
            return "451 try again later"
        self.got.append(message_from_bytes(envelope.content))
        self.to.append(envelope.rcpt_tos)
        return "250 taken"


@pytest.fixture
def postbox() -> Any:
    """A mail server on loopback."""
    box = Postbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield box, controller.port
    finally:
        controller.stop()


def mail_channel(port: int, **more: Any) -> MailChannel:
    server = MailServer("127.0.0.1", port, **{"security": "none", **more})
    return MailChannel(
        server, sender="volex@desk.example", receivers=("a@desk.example", "b@desk.example"), runbook_url=RUNBOOK
    )


async def test_mail_goes_to_every_receiver_and_is_tried_again_when_it_is_refused(
    engine: AsyncEngine, make_watch: Callable[..., AlertWatch], postbox: tuple[Postbox, int], rows: Rows
) -> None:
    box, port = postbox
    box.refuses = True
    watch = make_watch(channels=[mail_channel(port)])
    await open_case(engine)
    await watch.round()
    assert (await rows("SELECT last_error FROM alert_deliveries"))[0][0] == "mail: SMTPDataError 451"
    box.refuses = False
    await retry_now(engine)
    await watch.round()
    message = box.got[0]
    assert box.to == [["a@desk.example", "b@desk.example"]]
    assert message["Subject"].startswith("volex [WARNING] ORPHAN_ORDER: binanceus: an order nobody knows")
    assert f"what to do: {RUNBOOK}#orphans" in message.get_payload()
    await watch.close()


async def test_mail_is_never_handed_in_without_the_tls_that_was_asked_for(postbox: tuple[Postbox, int]) -> None:
    box, port = postbox
    channel = mail_channel(port, security="starttls", user="u", password=SecretStr("hunter2"))
    with pytest.raises(NoticeNotDelivered) as caught:
        await channel.send([make_notice()])
    assert "hunter2" not in str(caught.value) and not box.got


async def test_one_channel_that_is_down_does_not_keep_another_waiting(
    engine: AsyncEngine, receiver: Receiver, make_watch: Callable[..., AlertWatch], rows: Rows
) -> None:
    webhook = WebhookChannel(receiver.url, None, runbook_url=RUNBOOK)
    watch = make_watch(channels=[mail_channel(free_port()), webhook])
    await open_case(engine)
    await watch.round()
    assert receiver.alerts() == [("ORPHAN_ORDER", "firing")]
    waiting = await rows("SELECT channel, last_error FROM alert_deliveries WHERE delivered_at IS NULL")
    assert [tuple(row) for row in waiting] == [("mail", "mail: ConnectionRefusedError")]
    await watch.close()


def make_notice() -> Notice:
    alert = {"alert_id": 1, "code": "TEST", "fingerprint": "test", "summary": "a test", "started_at": datetime.now(UTC)}
    return Notice.model_validate({"alert": alert, "state": "firing", "attempts": 1})
