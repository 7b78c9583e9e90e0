"""Today's code over yesterday's histories: every ending that was ever recorded replays, in the full sandbox."""

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from domain.events import Reason
from domain.order import Order
from domain.risk import Validated
from tests.replay.record import HISTORIES, NAMES
from workflows.account_feed import AccountFeedWorkflow
from workflows.messages import FEED_WORKFLOW, ORDER_WORKFLOW, FeedInput, OrderInput, OrderResult
from workflows.order_workflow import OrderWorkflow
from workflows.temporal_plugin import volex_plugin

STORED = sorted(HISTORIES.glob("*.json"))
FORBIDDEN = ("apikey", "api_key", "secret", "signature", "passphrase", "password", "postgresql://")


def _history(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"replay-{name}", (HISTORIES / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", [path.stem for path in STORED])
async def test_stored_history_replays(name: str) -> None:
    replayer = Replayer(workflows=[OrderWorkflow, AccountFeedWorkflow], plugins=[volex_plugin()])
    outcome = await replayer.replay_workflow(_history(name))
    assert outcome.replay_failure is None


def test_every_ending_is_stored_and_every_stored_one_has_a_recorder() -> None:
    assert {path.stem for path in STORED} == set(NAMES)


@workflow.defn(name=ORDER_WORKFLOW)
class _Mutant(OrderWorkflow):
    """The order's workflow as it is: what follows from deriving alone."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> OrderResult:
        """Live the parent's life."""
        return await super().run(start)


@workflow.defn(name=ORDER_WORKFLOW)
class _WithoutPersist(_Mutant):
    """Leaves the last step out."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> OrderResult:
        """Live the mutant's life."""
        return await super().run(start)

    async def _persist(self, order: Order) -> Order:
        return order


@workflow.defn(name=ORDER_WORKFLOW)
class _WithoutValidate(_Mutant):
    """Leaves the first step out."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> OrderResult:
        """Live the mutant's life."""
        return await super().run(start)

    async def _validate(self) -> Validated | Reason:
        return Validated()


@workflow.defn(name=ORDER_WORKFLOW)
class _WithoutPauses(_Mutant):
    """Leaves the timers in the middle out."""

    @workflow.init
    def __init__(self, start: OrderInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: OrderInput) -> OrderResult:
        """Live the mutant's life."""
        return await super().run(start)

    async def _wait_for_change(self, order: Order, timeout: timedelta, summary: str) -> bool:
        return False


@workflow.defn(name=FEED_WORKFLOW)
class _FeedThatStops:
    """A feed that never follows."""

    @workflow.run
    async def run(self, start: FeedInput) -> None:
        """Continue as new at once."""
        workflow.continue_as_new(start)


async def test_a_derived_workflow_with_nothing_changed_replays() -> None:
    replayer = Replayer(workflows=[_Mutant], plugins=[volex_plugin(sandboxed=False)])
    assert (await replayer.replay_workflow(_history("market_filled"))).replay_failure is None


@pytest.mark.parametrize(
    ("mutant", "name"),
    [
        (_WithoutPersist, "market_filled"),
        (_WithoutPersist, "canceled_by_update"),
        (_WithoutValidate, "market_filled"),
        (_WithoutValidate, "denied_by_the_balance"),
        (_WithoutPauses, "in_doubt_and_sent_anew"),
        (_WithoutPauses, "cancel_refused_twice"),
        (_FeedThatStops, "feed_continued_as_new"),
    ],
)
async def test_a_step_that_was_removed_is_found_out(mutant: type, name: str) -> None:
    replayer = Replayer(workflows=[mutant], plugins=[volex_plugin(sandboxed=False)])
    with pytest.raises(workflow.NondeterminismError):
        await replayer.replay_workflow(_history(name))


def _payloads(node: Any) -> Iterator[str]:
    """Yield every payload in a history as text: it is stored in base64, where no word is found."""
    if isinstance(node, dict):
        if isinstance(data := node.get("data"), str):
            yield base64.b64decode(data).decode()
        for value in node.values():
            yield from _payloads(value)
    elif isinstance(node, list):
        for value in node:
            yield from _payloads(value)


def test_stored_histories_hold_no_secrets() -> None:
    for path in STORED:
        text = path.read_text("utf-8")
        payloads = list(_payloads(json.loads(text)))
        assert any('"' in payload for payload in payloads), f"{path.name}: payloads were read"
        found = [word for word in FORBIDDEN if word in "\n".join([text, *payloads]).lower()]
        assert not found, f"{path.name} holds {found}"
