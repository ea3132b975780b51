"""The watchdog as a pod: it undoes also when the runner's machine is lost, or cut off from the API server.

The runner starts it beside the local watchdog, which is quicker and writes into the run folder; both share the record,
and to undo twice is harmless. It belongs to the record (an ownerReference): when that is removed, so is the pod.
``deploy/watchdog`` installs the account that it acts as, with the permissions that undoing needs and no others.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Self

import msgspec

from drillbook.errors import DrillbookError, PreflightError
from drillbook.model.undo import HEARTBEAT, ObjectRef
from drillbook.targets import helper, paths
from drillbook.targets.answers import ApiError, UnavailableError
from drillbook.targets.kube import REQUEST_SECONDS, Json
from drillbook.targets.target import Target
from drillbook.undo.record import UndoStore
from drillbook.undo.watchdog import Orders

ACCOUNT = "drillbook-watchdog"
START_SECONDS = 60.0
"""A pod is scheduled, its image pulled, and the client imported; nothing is injected before it watches."""
GRACE = 60


class WatchdogPod:
    """A watchdog that runs at the target."""

    def __init__(self, target: Target, ref: ObjectRef) -> None:
        self._target, self._ref = target, ref

    @classmethod
    async def start(cls, target: Target, store: UndoStore, *, settle: float = REQUEST_SECONDS) -> Self:
        """Start it and wait until it watches, with its own account's eyes.

        :raises PreflightError: it does not come up.
        """
        record = await target.kube.get(store.path)
        owner = {"apiVersion": "v1", "kind": "ConfigMap"} | {key: record["metadata"][key] for key in ("name", "uid")}
        wanted = manifest(target, store.record.run_id, heartbeat=store.record.heartbeat_seconds, settle=settle)
        wanted["metadata"]["ownerReferences"] = [owner]
        pod = cls(target, await helper.start(target, wanted))
        try:
            await helper.said(target, pod._ref, START_SECONDS)
        except DrillbookError as error:
            await pod.goodbye()
            raise PreflightError(f"the watchdog does not start as a pod: {error}", "--watchdog local") from error
        except BaseException:  # Ctrl-C too: nobody else knows of the pod yet
            await pod.goodbye()
            raise
        return pod

    async def goodbye(self) -> None:
        """The run is over and clean. Whatever keeps it from being deleted now, it ends with the record."""
        with contextlib.suppress(ApiError, UnavailableError):
            await self._target.kube.delete(paths.of(self._ref), uid=self._ref.uid)


def manifest(target: Target, run_id: str, *, heartbeat: float = HEARTBEAT, settle: float = REQUEST_SECONDS) -> Json:
    """The pod; what ``target.helper`` says of the image and the pod holds for it too."""
    settings = target.spec.helper
    orders = Orders(
        run_id=run_id,
        namespace=target.namespace,
        kubeconfig="",
        context="",
        folder="",
        heartbeat=heartbeat,
        runner=0,
        settle=settle,
    )
    pod: Json = {
        "serviceAccountName": ACCOUNT,
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": GRACE,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": helper.CONTAINER,
                "image": settings.image or helper.IMAGE,
                "command": [settings.python, "-m", "drillbook.undo.watchdog"],
                "args": ["--pod", msgspec.json.encode(orders).decode()],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"drillbook-watchdog-{hashlib.blake2b(run_id.encode(), digest_size=5).hexdigest()}",
            "namespace": target.namespace,
            "labels": helper.labels("watchdog", run_id),
        },
        "spec": helper.merge(pod, helper.without_rights(settings.pod)),
    }


async def refusal(target: Target) -> str:
    """Why it cannot run as a pod at this target; empty where it can."""
    try:
        await helper.check(target, manifest(target, "dry-run"))
    except DrillbookError as error:
        return error.message
    return ""
