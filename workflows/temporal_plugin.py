"""One plugin that client, worker and replayer share, so that none of them uses another converter."""

import dataclasses

from temporalio.contrib.pydantic import PydanticPayloadConverter, ToJsonOptions, pydantic_data_converter
from temporalio.plugin import SimplePlugin
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions


class _ShortPayloads(PydanticPayloadConverter):
    """Leaves out what was never set: half of an order's history would be fields that say nothing."""

    def __init__(self) -> None:
        super().__init__(ToJsonOptions(exclude_unset=True))


_CONVERTER = dataclasses.replace(pydantic_data_converter, payload_converter_class=_ShortPayloads)


def volex_plugin(*, sandboxed: bool = True) -> SimplePlugin:
    """Return the plugin: the data converter, and the sandbox that refuses clocks, chance and I/O in workflows.

    Every test and every replay runs sandboxed. A worker in service does not need to import the workflow's module
    anew for each order, which costs more than all its steps together (`docs/decisions/0007`).
    """

    def runner(_: WorkflowRunner | None) -> WorkflowRunner:
        if not sandboxed:
            return UnsandboxedWorkflowRunner()
        return SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules("pydantic", "pydantic_core", "domain")
        )

    return SimplePlugin("volex", data_converter=_CONVERTER, workflow_runner=runner)
