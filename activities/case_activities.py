"""Closing of cases by people. Queue `orders`: it touches the ledger only."""

from temporalio import activity

from activities.calls import CloseCaseCall
from activities.failures import in_activity
from domain.comparison import Case, CaseStore


class CaseActivities:
    """The activity behind the update `close_case` of an account's reconciler."""

    def __init__(self, store: CaseStore) -> None:
        self._store = store

    @activity.defn(name="close_case")
    async def close_case(self, call: CloseCaseCall) -> Case:
        """Close a case with a person's words; its order shows no more that it needs attention, if that was its last."""
        async with in_activity():
            closed = await self._store.close_case(
                call.account, call.case_id, resolution=call.resolution, now=call.closed_at
            )
            activity.logger.warning(
                "case_closed", extra={"account": call.account, "case": call.case_id, "resolution": call.resolution}
            )
            return closed
