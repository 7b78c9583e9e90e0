"""One plugin that client, worker and replayer share, so that none of them uses another converter."""

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions


def _runner(_: WorkflowRunner | None) -> WorkflowRunner:
    """Keep the sandbox, and pass models through it: importing them anew for each workflow costs milliseconds."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules("pydantic", "pydantic_core", "domain")
    )


def volex_plugin() -> SimplePlugin:
    """Return the plugin: pydantic data converter and the workflow sandbox."""
    return SimplePlugin("volex", data_converter=pydantic_data_converter, workflow_runner=_runner)
