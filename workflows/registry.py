"""Every workflow of ours: what a worker serves, and what replays what a worker has served."""

from typing import Final

from workflows.account_feed import AccountFeedWorkflow
from workflows.account_reconciler import AccountReconcilerWorkflow
from workflows.kill_sweep import AccountSweepWorkflow
from workflows.order_workflow import OrderWorkflow

WORKFLOWS: Final[tuple[type, ...]] = (
    OrderWorkflow,
    AccountFeedWorkflow,
    AccountReconcilerWorkflow,
    AccountSweepWorkflow,
)
