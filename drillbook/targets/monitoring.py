"""Where the target's Prometheus is: as the experiment says, else behind a Service of its namespace."""

from __future__ import annotations

from drillbook.targets import endpoint, paths
from drillbook.targets.target import Target

PORT = 9090


async def prometheus(target: Target) -> str | None:
    """Base URL of the target's Prometheus; None where none is known. It is not asked whether it answers.

    :raises RefusedError: Services may not be listed.
    """
    if target.spec.prometheus:
        return target.spec.prometheus.rstrip("/")
    for selector in target.stack.prometheus:
        for service in await target.kube.list(paths.collection("v1", "services", target.namespace), labels=selector):
            for url in endpoint.addresses(service, PORT):
                return url
    return None
