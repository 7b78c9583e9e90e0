"""What a worker shows of itself: its page of metrics and its traces."""

import logging

from temporalio import activity, workflow
from temporalio.runtime import Runtime

from domain.errors import ConfigurationError
from observability.serving import SdkMetrics, serve
from observability.traces import set_up_traces
from settings import Settings

log = logging.getLogger("volex.worker")


def show_worker(settings: Settings, *, identity: str) -> Runtime | None:
    """Begin to serve metrics and to export traces, where settings ask for it; return Temporal's runtime for them.

    Raises
    ------
    ConfigurationError
        When the port is taken, or the packages for traces are not installed.
    """
    # What they would repeat in each line's text stands in its fields.
    activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = False
    set_up_traces(**settings.traces(), service="volex-worker", instance=identity)
    address = settings.worker.metrics_address
    if address is None:
        return None
    sdk = SdkMetrics()
    try:
        port = serve(address, number=settings.worker.number, sdk=sdk)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"worker.metrics_address {address!r}: {error}") from None
    log.info("metrics_served", extra={"address": address, "port": port})
    return sdk.runtime
