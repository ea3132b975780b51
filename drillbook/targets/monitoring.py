"""Where the target's Prometheus is: as the experiment says, else behind a Service of its namespace."""

from __future__ import annotations

from urllib.parse import urlsplit

from drillbook.errors import UsageError
from drillbook.targets import endpoint, paths
from drillbook.targets.target import Target

PORT = 9090
TOKEN = "DRILLBOOK_PROMETHEUS_TOKEN"  # noqa: S105  the name of a variable, no secret
"""The environment variable of a bearer token for Prometheus; it is written nowhere."""


async def prometheus(target: Target) -> str | None:
    """Base URL of the target's Prometheus; None where none is known. It is not asked whether it answers.

    :raises RefusedError: Services may not be listed.
    :raises UsageError: the URL holds a user's name or password, which journals and reports would tell.
    """
    if target.spec.prometheus:
        if "@" in urlsplit(target.spec.prometheus).netloc:
            hint = f"leave them out; ${TOKEN} may hold a bearer token"
            raise UsageError("target.prometheus holds credentials, and is written into every journal", hint)
        return target.spec.prometheus.rstrip("/")
    for selector in target.stack.prometheus:
        for service in await target.kube.list(paths.collection("v1", "services", target.namespace), labels=selector):
            for url in endpoint.addresses(service, PORT):
                return url
    return None
