"""Today's code over yesterday's histories: every ending that was ever recorded replays, in the full sandbox."""

from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.replay.record import HISTORIES, SCENARIOS
from workflows.messages import ORDER_WORKFLOW, OrderInput
from workflows.order_workflow import OrderWorkflow
from workflows.temporal_plugin import volex_plugin

STORED = sorted(HISTORIES.glob("*.json"))


def _history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"order-replay-{path.stem}", path.read_text("utf-8"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_stored_history_replays(path: Path) -> None:
    replayer = Replayer(workflows=[OrderWorkflow], plugins=[volex_plugin()])
    outcome = await replayer.replay_workflow(_history(path))
    assert outcome.replay_failure is None


def test_every_ending_is_stored() -> None:
    assert {path.stem for path in STORED} >= {scenario.__name__ for scenario in SCENARIOS}


@workflow.defn(name=ORDER_WORKFLOW)
class OtherCommands:
    """An order's workflow whose first command is another one."""

    @workflow.run
    async def run(self, start: OrderInput) -> None:
        """Sleep where the order's life validates."""
        await workflow.sleep(1)

    @workflow.update(name="place")
    async def place(self, message: dict[str, object]) -> None:
        """Take what the history holds."""


async def test_changed_commands_are_found_out() -> None:
    replayer = Replayer(workflows=[OtherCommands], plugins=[volex_plugin(sandboxed=False)])
    with pytest.raises(workflow.NondeterminismError):
        await replayer.replay_workflow(_history(HISTORIES / "market_filled.json"))


def test_stored_histories_hold_no_secrets() -> None:
    for path in STORED:
        text = path.read_text("utf-8").lower()
        assert not any(word in text for word in ("apikey", "api_key", "secret", "signature", "passphrase")), path.name
