"""The driver of link faults that holds the rules by helper pods, one beside each pod whose network is changed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from drillbook import clock
from drillbook.errors import RefusedError
from drillbook.faults.fault import Record
from drillbook.faults.link_group import Links, addresses
from drillbook.model.plan import PlannedFault
from drillbook.model.undo import ClearLink, UndoOperation
from drillbook.targets import helper, paths
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target

START_SECONDS = 30.0
"""How long a helper may take to start and to set its first rule."""
LOOK_SECONDS = 0.2

Steps = list[tuple[float, dict[str, Any]]]


def manifests(target: Target, run_id: str, links: Links, steps: Steps, seconds: float) -> list[tuple[Json, Json]]:
    """Each pod that a rule is set in, and the helper that sets it.

    What leaves is shaped at the sender, what arrives is dropped at the receiver. One of two measures their link.
    """
    shapes = any(setting["kind"] in ("throttle", "delay") for _, setting in steps)
    held = [(place, links.peers(place, sending=shapes)) for place in range(len(links.pods))]
    holders = [(place, peers) for place, peers in held if peers]
    measured: set[frozenset[int]] = set()
    found = []
    for place, peers in holders:
        pod = links.pods[place]
        fresh = [peer for peer in peers if frozenset((place, peer)) not in measured]
        measured |= {frozenset((place, peer)) for peer in fresh}
        arguments = {
            "pod": pod["metadata"]["uid"],
            "peers": [address for peer in peers for address in addresses(links.pods[peer])],
            "spared": list(links.spared),
            "measure": [address for peer in fresh for address in addresses(links.pods[peer]) if ":" not in address],
            "steps": steps,
        }
        argv = ("link", json.dumps(arguments))
        found.append((
            pod,
            helper.manifest(target, run_id=run_id, purpose="link", argv=argv, near=pod, seconds=seconds),
        ))  # fmt: skip
    return found


def undo(target: Target, run_id: str, held: list[tuple[Json, Json]]) -> tuple[UndoOperation, ...]:
    """First the helpers end, which clears; then each link is looked at, and cleared of what a killed one left."""
    looks: list[UndoOperation] = []
    for pod, manifest in held:
        measured = json.loads(manifest["spec"]["containers"][0]["args"][-1])["measure"]
        arguments = {"pod": pod["metadata"]["uid"], "peers": [], "spared": [], "measure": measured, "steps": []}
        argv = ("--clear", "link", json.dumps(arguments))
        look = helper.manifest(target, run_id=run_id, purpose="clear", argv=argv, near=pod, seconds=60.0)
        looks.append(ClearLink(pod=paths.pod_ref(pod), helper=look))
    return (*looks, *(helper.undo(manifest) for _, manifest in held))  # carried out from the last to the first


async def inject(planned: PlannedFault, target: Target, record: Record) -> Objects:
    """Start the helpers, and wait until each has set its rule; answers what they told.

    :raises RefusedError: a pod was replaced, or a helper does not work.
    :raises UnsupportedError: a helper says that it cannot be done there.
    """
    await still_there(planned, target)
    wanted: Any = planned.options["objects"]
    await record(planned.undo)
    # One after another: each first measures its links as they were, and the next one's rule would be in that.
    return [await _did(target, await helper.start(target, manifest)) for manifest in wanted]


async def still_there(planned: PlannedFault, target: Target) -> None:
    """:raises RefusedError: a pod of the plan was replaced, or is ending."""
    for ref in planned.targets:
        pod = await target.kube.find(paths.of(ref))
        if pod is None or pod["metadata"]["uid"] != ref.uid or "deletionTimestamp" in pod["metadata"]:
            raise RefusedError(f"{ref} was gone or ending before the fault")


async def told(planned: PlannedFault, target: Target) -> Objects:
    """All that the helpers have told so far.

    :raises DrillbookError: they cannot be heard.
    """
    wanted: Any = planned.options["objects"]
    found: Objects = []
    for manifest in wanted:
        meta = manifest["metadata"]
        pod = await target.kube.find(paths.pod(meta["namespace"], meta["name"]))
        if pod is None:
            raise RefusedError(f"the helper pod {meta['name']} is gone")
        found += await helper.said(target, paths.pod_ref(pod), LOOK_SECONDS)
    return found


async def _did(target: Target, ref: Any) -> Json:
    until = clock.monotonic() + START_SECONDS
    while True:
        lines = await helper.said(target, ref, max(until - clock.monotonic(), LOOK_SECONDS))
        did: Json | None = next((line["did"] for line in lines if "did" in line), None)
        if did is not None:
            return did
        if clock.monotonic() > until:
            raise RefusedError(f"the helper pod {ref.name} has not set its rule within {START_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)
