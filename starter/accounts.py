"""What concerns a whole account: comparing it with its venue, and the cases that this opens. Always within a bound."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar
from uuid import uuid4

from pydantic import ValidationError
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from domain.comparison import Case, Reconciled
from domain.errors import InvalidRequest
from domain.identifiers import ACCOUNT, reconciler_workflow_id
from starter.bounded import repeated
from starter.failures import EngineUnavailable, to_domain_error
from starter.feeds import reconcile_now, start_feed
from workflows.messages import CloseCase, ReconcileNow

T = TypeVar("T")

RECONCILE_TIMEOUT_S: Final = 60.0
CLOSE_TIMEOUT_S: Final = 25.0
NOT_IN_TIME: Final = "Look at the worker's log, and ask again: a comparison goes on by itself, and is safe to repeat."


class AccountCalls:
    """The part of `ExecutionClient` that concerns a whole account."""

    _client: Client

    async def reconcile(
        self, account: str, *, why: str = "asked for", timeout_s: float = RECONCILE_TIMEOUT_S
    ) -> Reconciled:
        """Compare ledger, Temporal and venue now, and return what was found by a comparison that began after this.

        Orders without a workflow are adopted; what does not fit is a case. Nothing at the venue is touched.

        Raises
        ------
        InvalidRequest
            When that cannot be the name of an account.
        EngineUnavailable
            When Temporal or the account's worker does not answer in time, or no reconciler runs for the account.
        """
        return await self._of_reconciler(
            account, "reconcile", ReconcileNow(why=why), result_type=Reconciled, timeout_s=timeout_s
        )

    async def recover(
        self, account: str, *, why: str = "recovery", timeout_s: float = RECONCILE_TIMEOUT_S
    ) -> Reconciled:
        """Start the account's feed and reconciler where they do not run, and compare: Temporal may have lost its store.

        Every order of the ledger that has not ended has a workflow then; the answer's `adopted_in_all` counts those
        that had none. Safe to repeat. Name only accounts that a worker serves: the workflows of others wait for ever.

        Raises
        ------
        InvalidRequest
            When that cannot be the name of an account.
        EngineUnavailable
            When Temporal or the account's worker does not answer in time.
        """
        _check(account)

        async def once(_: timedelta) -> Reconciled:
            await start_feed(self._client, account)
            return await reconcile_now(self._client, account, why=why)

        return await _bounded(once, account, timeout_s)

    async def close_case(
        self,
        account: str,
        case_id: int,
        *,
        because: str,
        closed_by: str = "anonymous",
        timeout_s: float = CLOSE_TIMEOUT_S,
    ) -> Case:
        """Close a case that somebody has looked into. An order's mark goes off with the last of its open cases.

        Parameters
        ----------
        because
            What was found, for the record: printable ASCII, 1 to 200 characters.

        Raises
        ------
        InvalidRequest
            When the reason is missing or not by that form.
        CaseNotFound, CaseClosed
            When there is no such case, or it was closed before.
        EngineUnavailable
            When Temporal or a worker does not answer in time, or no reconciler runs for the account.
        """
        try:
            message = CloseCase(case_id=case_id, because=because, closed_by=closed_by)
        except ValidationError as error:
            found = error.errors()[0]
            raise InvalidRequest(f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}") from None
        return await self._of_reconciler(account, "close_case", message, result_type=Case, timeout_s=timeout_s)

    async def _of_reconciler(
        self, account: str, update: str, message: ReconcileNow | CloseCase, *, result_type: type[T], timeout_s: float
    ) -> T:
        """Send an update to the account's reconciler, under one id: repeated, it is the same."""
        _check(account)
        handle = self._client.get_workflow_handle(reconciler_workflow_id(account))
        update_id = f"{update}-{uuid4()}"

        async def once(left: timedelta) -> T:
            answer: T = await handle.execute_update(
                update, message, id=update_id, result_type=result_type, rpc_timeout=left
            )
            return answer

        return await _bounded(once, account, timeout_s)


async def _bounded(once: Callable[[timedelta], Awaitable[T]], account: str, timeout_s: float) -> T:
    """Repeat until there is an answer, at most that long; failures leave it as errors of ours."""
    try:
        return await repeated(once, timeout_s)
    except WorkflowUpdateFailedError as error:
        raise to_domain_error(error) from error
    except TimeoutError:
        raise EngineUnavailable(
            f"account {account} was not answered for in {timeout_s:g} s; its worker or its venue may be away",
            advice=NOT_IN_TIME,
        ) from None
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise to_domain_error(error) from error
        raise EngineUnavailable(
            f"no reconciler runs for account {account}",
            advice="Check the name. A worker of the account starts it within seconds; `volex recover` does at once.",
        ) from error


def _check(account: str) -> None:
    """Refuse what cannot be a name, before it becomes part of a workflow id."""
    if not ACCOUNT.fullmatch(account):
        raise InvalidRequest(f"{account[:40]!r} is not the name of an account")


__all__ = ["AccountCalls"]
