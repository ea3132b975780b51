"""``TargetLease``: one run at a time on a target, and the heartbeat that its watchdog listens to.

A Lease is alive while it is being renewed, seen on our own monotonic clock: the times written inside it are for people
and are never compared with a clock of ours. https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from drillbook import clock
from drillbook.errors import PreflightError
from drillbook.model.undo import HEARTBEAT
from drillbook.targets import paths
from drillbook.targets.answers import ApiError, ConflictError, NotFoundError, UnavailableError
from drillbook.targets.kube import Json, Kube
from drillbook.undo.record import FencedError, find_records

NAME = "drillbook-target"
RENEW_SECONDS = 1.0
"""Between two renewals."""
LOOK_SECONDS = 0.25
"""Between two looks at another run's Lease, while it is watched for a renewal."""
WATCHDOG = "/watchdog"
"""Follows the run's id in a Lease that its watchdog holds: the run is dead, and the target is being put back."""
PATIENCE_SECONDS = 30.0
"""How long a new run waits for the watchdog of a dead one."""


class TargetLease:
    """The Lease of one namespace, held by one run. Made by ``acquire``; renewed in the background until ``release``."""

    def __init__(self, kube: Kube, namespace: str, holder: str, seconds: float, version: str) -> None:
        self.kube, self.namespace, self.holder, self.seconds = kube, namespace, holder, seconds
        self.lost = asyncio.Event()
        """Set when someone else has taken the Lease away: stop, inject nothing more, undo."""
        self._version = version
        self._renewed = clock.monotonic()
        self._task = asyncio.create_task(self._renew_forever(), name="lease")

    def check(self) -> None:
        """Whether this run still owns the target.

        :raises FencedError: the Lease was taken away, or could not be renewed for as long as it lasts.
        """
        silent = clock.monotonic() - self._renewed
        if self.lost.is_set() or silent > self.seconds:
            raise FencedError(
                f"run {self.holder} has lost the target's Lease (renewed {silent:.1f} s ago); nothing is injected",
                hint="the runner stood still, or the API server was away; start the experiment again",
            )

    async def release(self) -> None:
        """Stop renewing and let go of the Lease, if it is still ours. An API server that is away lets it expire."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(ApiError, UnavailableError):
            await take_from(self.kube, self.namespace, self.holder)

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(UnavailableError):
                await self._renew()
            if self.lost.is_set():
                return

    async def _renew(self) -> None:
        began = clock.monotonic()
        body = _body(self.namespace, self.holder, self.seconds, self._version)
        try:
            stored = await self.kube.replace(_path(self.namespace), body)
        except (ConflictError, NotFoundError):
            found = await self.kube.find(_path(self.namespace))
            if found is None or _holder(found) != self.holder:
                self.lost.set()
                return
            self._version = found["metadata"]["resourceVersion"]  # our own write, whose answer was lost
            return
        except ApiError:
            return  # a refusal that does not end is seen by ``check``
        self._version, self._renewed = stored["metadata"]["resourceVersion"], began


async def acquire(
    kube: Kube,
    namespace: str,
    holder: str,
    *,
    seconds: float = HEARTBEAT,
    on_wait: Callable[[str], None] = lambda _: None,
) -> TargetLease:
    """Take the target's Lease, from nobody or from a run that is seen to be dead and has left nothing behind.

    :param on_wait: is told why it takes a while.
    :raises PreflightError: another run is at work here, or died and left something to undo.
    """
    while True:
        found = await kube.find(_path(namespace))
        try:
            if found is None:
                stored = await kube.create(_collection(namespace), _body(namespace, holder, seconds, ""))
            else:
                other = _holder(found)
                if other:
                    on_wait(f"run {other} holds the target's Lease; looking whether it is still alive")
                    found = await _await_silence(kube, namespace, found) or found
                version = found["metadata"]["resourceVersion"]
                stored = await kube.replace(_path(namespace), _body(namespace, holder, seconds, version))
        except ConflictError:
            continue
        held = TargetLease(kube, namespace, holder, seconds, stored["metadata"]["resourceVersion"])
        try:
            await _settle(kube, namespace, holder)
        except BaseException:  # Ctrl-C too: who never got the Lease does not give it back
            await held.release()
            raise
        return held


async def take_over(kube: Kube, namespace: str, run_id: str, *, seconds: float = HEARTBEAT) -> TargetLease | None:
    """For the watchdog of a run that cannot renew its Lease: hold it until the target is seen to be clean.

    What the dead runner has asked for may land late, and be undone late: meanwhile no other run may begin, lest its
    faults be taken for that one's. None where another run holds the Lease already.
    """
    holder = run_id + WATCHDOG
    while True:
        found = await kube.find(_path(namespace))
        try:
            if found is None:
                stored = await kube.create(_collection(namespace), _body(namespace, holder, seconds, ""))
            elif _holder(found) in ("", run_id, holder):
                version = found["metadata"]["resourceVersion"]
                stored = await kube.replace(_path(namespace), _body(namespace, holder, seconds, version))
            else:
                return None
        except ConflictError:
            continue
        return TargetLease(kube, namespace, holder, seconds, stored["metadata"]["resourceVersion"])


async def is_anothers(kube: Kube, namespace: str, run_id: str) -> bool:
    """Whether another run than this holds the target now."""
    found = await kube.find(_path(namespace))
    return found is not None and _holder(found) not in ("", run_id, run_id + WATCHDOG)


async def take_from(kube: Kube, namespace: str, holder: str) -> bool:
    """Free the Lease if this run holds it; whether it did."""
    while True:
        found = await kube.find(_path(namespace))
        if found is None or _holder(found) != holder:
            return False
        try:
            await kube.replace(_path(namespace), _body(namespace, "", 1.0, found["metadata"]["resourceVersion"]))
        except ConflictError:
            continue
        return True


async def read_version(kube: Kube, namespace: str, holder: str) -> str:
    """What changes with each renewal; empty where the run does not hold the Lease (any more)."""
    found = await kube.find(_path(namespace))
    return found["metadata"]["resourceVersion"] if found is not None and _holder(found) == holder else ""


async def _await_silence(kube: Kube, namespace: str, seen: Json) -> Json | None:
    """The Lease as it is once it was freed, or has not been renewed for as long as it lasts.

    :raises PreflightError: it is being renewed.
    """
    patience = clock.monotonic() + PATIENCE_SECONDS
    until = _overdue(seen)
    while clock.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
        found = await kube.find(_path(namespace))
        if found is None or not _holder(found):
            return found
        if found["metadata"]["resourceVersion"] == seen["metadata"]["resourceVersion"]:
            continue
        run_id, undoing, _ = _holder(found).partition(WATCHDOG)
        if not undoing:
            raise PreflightError(
                f"run {run_id} is at work on namespace {namespace}: one run at a time on a target",
                hint="wait until it has ended, or end it (Ctrl-C undoes first)",
            )
        if clock.monotonic() > patience:
            raise PreflightError(
                f"run {run_id} died, and its watchdog is still putting namespace {namespace} back",
                hint="see what is left with: drillbook recover --list",
            )
        seen, until = found, _overdue(found)
    return seen


def _overdue(lease: Json) -> float:
    """When a Lease that was renewed just now, and is not again, counts as left, monotonic seconds."""
    return clock.monotonic() + float(lease["spec"].get("leaseDurationSeconds") or 5) + RENEW_SECONDS


async def _settle(kube: Kube, namespace: str, holder: str) -> None:
    """Fence the records of earlier runs, so that none of them can inject should its runner wake up.

    :raises PreflightError: one of them left something to undo.
    """
    for found in await find_records(kube, [namespace]):
        if found.store is None:
            raise PreflightError(found.damage, hint="mend or delete it: see drillbook recover")
        record = found.store.record
        if record.remaining and record.run_id != holder:
            raise PreflightError(
                f"run {record.run_id} ended and left {len(record.remaining)} fault(s) in namespace {namespace}",
                hint="undo them first: drillbook recover",
            )
        await found.store.close(f"run {holder}")


def _holder(lease: Json) -> str:
    return str(lease.get("spec", {}).get("holderIdentity") or "")


def _body(namespace: str, holder: str, seconds: float, version: str) -> dict[str, Any]:
    meta: Json = {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "drillbook"}}
    if version:
        meta["resourceVersion"] = version
    spec: Json = {"leaseDurationSeconds": max(1, math.ceil(seconds))}
    if holder:
        now = datetime.fromtimestamp(clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec |= {"holderIdentity": holder, "renewTime": now}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def _collection(namespace: str) -> str:
    return paths.collection("coordination.k8s.io/v1", "leases", namespace)


def _path(namespace: str) -> str:
    return f"{_collection(namespace)}/{NAME}"
