"""A runner whose only watchdog is a pod: it breaks one field, and waits to be killed or cut off.

Arguments: kubeconfig, namespace, run id, folder. It speaks a line a step on stdout; ``goodbye`` on stdin ends it well.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from drillbook.model.experiment import TargetSpec
from drillbook.model.undo import FieldChange, RestoreFields, UndoEntry
from drillbook.targets import paths
from drillbook.targets.kube import Kube
from drillbook.targets.stack import stack_named
from drillbook.targets.target import Target
from drillbook.undo import lease
from drillbook.undo.record import UndoStore
from drillbook.undo.watchdog_pod import WatchdogPod


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main(kubeconfig: str, namespace: str, run_id: str, folder: str) -> None:
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        target = Target(kube, TargetSpec(namespace=namespace), namespace, stack_named("other"))
        held = await lease.acquire(kube, namespace, run_id, seconds=2.0)
        store = await UndoStore.create(kube, namespace, run_id, "A title", Path(folder), heartbeat=2.0)
        pod = await WatchdogPod.start(target, store, settle=0.5)
        place = f"{paths.collection('v1', 'configmaps', namespace)}/victim"
        field = FieldChange(path=("data", "field"), existed=True, before="old", wrote="new")
        undo = RestoreFields(object=paths.ref(await kube.get(place), "configmaps"), fields=(field,))
        await store.arm(UndoEntry(id="0-first", fault="x", operations=(undo,)))
        await kube.patch(place, {"data": {"field": "new"}})
        say("broken")
        await asyncio.to_thread(sys.stdin.readline)
        await kube.patch(place, {"data": {"field": "old"}})
        await store.close("runner")
        await store.mark("0-first", "undone")  # type: ignore[arg-type]  # as the record stores it
        await store.remove()
        await pod.goodbye()
        await held.release()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
