"""A runner that holds the Lease, keeps the record, starts the watchdog, breaks one field, and waits to be killed.

Arguments: kubeconfig, namespace, run id, folder, heartbeat, settle. It speaks a line a step on stdout; a line on stdin
makes it try to arm and inject once more.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from drillbook.model.undo import FieldChange, RestoreFields, UndoEntry
from drillbook.targets import paths
from drillbook.targets.kube import Kube
from drillbook.undo import lease
from drillbook.undo.keeper import Keeper
from drillbook.undo.record import FencedError, UndoStore


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main(kubeconfig: str, namespace: str, run_id: str, folder: str, heartbeat: str, settle: str) -> None:
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        held = await lease.acquire(kube, namespace, run_id, seconds=float(heartbeat))
        store = await UndoStore.create(kube, namespace, run_id, "A title", Path(folder), heartbeat=float(heartbeat))
        store.fence = held.check
        keeper = await Keeper.start(
            run_id=run_id, namespace=namespace, kubeconfig=Path(kubeconfig), context="test", folder=Path(folder),
            heartbeat=float(heartbeat), settle=float(settle),
        )  # fmt: skip
        say(f"watchdog {keeper.pid}")
        place = f"{paths.collection('v1', 'configmaps', namespace)}/victim"
        reference = paths.ref(await kube.get(place), "configmaps")

        async def break_it(entry: str) -> None:
            field = FieldChange(path=("data", "field"), existed=True, before="old", wrote="new")
            await store.arm(
                UndoEntry(id=entry, fault="x", operations=(RestoreFields(object=reference, fields=(field,)),))
            )
            await kube.patch(place, {"data": {"field": "new"}})

        await break_it("0-first")
        say("broken")
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while command := (await reader.readline()).decode().strip():
            if command == "again":
                try:
                    await break_it("1-second")
                    say("broken again")
                except FencedError as error:
                    say(f"fenced: {error}")
            elif command == "goodbye":
                await keeper.goodbye()
                await held.release()
                return


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
