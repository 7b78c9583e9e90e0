"""Builds of the worker side by side: Temporal gives workflows to the one that was promoted, and to no other.

Only the queue `orders` is versioned. The accounts' queues are not: their steps are the same for every build, and a
deployment may have no more than a hundred queues.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from domain.errors import InvalidRequest
from domain.order import Frozen

DEPLOYMENT: Final = "volex"
PROMOTE_TRIES: Final = 21
PROMOTE_PAUSE_S: Final = 0.5
"""Temporal learns of a build some moments after its first worker polls."""


class Build(Frozen):
    """A build whose workers have asked Temporal for work."""

    build_id: str
    state: str
    """`current` gets all workflows; `inactive` has never had any; `draining` and `drained` had them before."""


def deployment_of(build_id: str | None) -> WorkerDeploymentConfig | None:
    """Return how a worker names its build; `None` for workers that take what comes.

    An order that runs moves to the new build with its next step (`AUTO_UPGRADE`): no build has to live for the weeks
    that an order may rest. What new code does otherwise stands behind `workflow.patched`.
    """
    if build_id is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def builds(client: Client) -> Sequence[Build]:
    """Return the builds that Temporal knows, newest first. Raises `RPCError` when Temporal does not answer."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=DEPLOYMENT)
    try:
        answer = await client.workflow_service.describe_worker_deployment(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return []
    found = sorted(
        answer.worker_deployment_info.version_summaries, key=lambda one: one.create_time.ToDatetime(), reverse=True
    )
    return [Build(build_id=one.deployment_version.build_id, state=_state(one.status)) for one in found]


def _state(status: WorkerDeploymentVersionStatus.ValueType) -> str:
    name = WorkerDeploymentVersionStatus.Name(status)
    return name.removeprefix("WORKER_DEPLOYMENT_VERSION_STATUS_").lower()


async def promote(client: Client, build_id: str) -> None:
    """Give all workflows, those that run as well, to a build's workers, from their next step on.

    Raises
    ------
    InvalidRequest
        When no worker of that build has asked for work for ten seconds: then nobody would carry the orders on.
    RPCError
        When Temporal does not answer.
    """
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=DEPLOYMENT, build_id=build_id, identity="volex build promote"
    )
    for remaining in reversed(range(PROMOTE_TRIES)):
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
        except RPCError as error:
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION):
                raise
            if not remaining:
                raise InvalidRequest(
                    f"build {build_id} cannot be promoted: {error.message}",
                    advice="Start its workers with WORKER__BUILD_ID first; volex build list shows what is there.",
                ) from None
            await asyncio.sleep(PROMOTE_PAUSE_S)
        else:
            return


__all__ = ["DEPLOYMENT", "Build", "builds", "deployment_of", "promote"]
