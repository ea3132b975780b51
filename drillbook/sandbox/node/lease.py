"""A node's Lease: how the control plane knows that somebody still speaks for the node."""

from __future__ import annotations

from drillbook.sandbox.control import times
from drillbook.sandbox.node.api import MERGE, Api, ApiError

RENEW_EVERY = 10.0
"""Seconds between renewals of a node's Lease, and its duration: the kubelet's defaults."""
LEASE_SECONDS = 40
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


async def renew(api: Api, node: str) -> None:
    """Make or renew the Lease of ``node``.

    :raises ApiError: the API server refused, or is not there.
    """
    spec = {"holderIdentity": node, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": times.micro_stamp()}
    try:
        await api.patch(f"{_LEASES}/{node}", {"spec": spec}, MERGE)
    except ApiError as error:
        if error.status != 404:
            raise
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": node, "namespace": "kube-node-lease"},
            "spec": spec,
        }
        await api.post(_LEASES, lease)
