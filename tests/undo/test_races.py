"""What a runner, its watchdog and an API server do to each other at the worst moment, for real and not by hand."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from types import SimpleNamespace

from faulty_proxy import Delay, FaultyProxy

from drillbook import clock

YEAR = 365 * 86_400
CLOCK = """
import os, pathlib, time
real, step = time.time, pathlib.Path(os.environ["DRILLBOOK_TEST_STEP"])
time.time = lambda: real() + float(step.read_text())
"""
"""Read by each Python that starts: its wall clock is what the file says ahead of the machine's."""


async def test_a_clock_that_is_set_back_or_ahead_under_runner_and_watchdog_undoes_nothing_early_nor_late(
    runner, shared_plane, kube, namespace, tmp_path, monkeypatch
):
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    step: Path = tmp_path / "step"
    step.write_text("0")
    monkeypatch.setenv("DRILLBOOK_TEST_STEP", str(step))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    await runner.start(shared_plane, heartbeat=2.0)
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/drillbook-target"

    async def renewed_in(year: str) -> None:
        async with asyncio.timeout(60):
            while not (await kube.get(lease))["spec"]["renewTime"].startswith(year):
                await asyncio.sleep(0.05)

    step.write_text(str(20 * YEAR))
    await renewed_in("204")
    began = clock.monotonic()
    while clock.monotonic() - began < 2.2:  # longer than the heartbeat
        assert await runner.field() == "new"
        await asyncio.sleep(0.1)
    step.write_text(str(-20 * YEAR))
    await renewed_in("200")
    assert await runner.field() == "new"
    await runner.kill()
    await runner.undone()
    await runner.watchdog_left()


async def test_a_request_on_its_way_when_the_runner_dies_lands_after_the_undo_and_is_undone_too(
    runner, shared_plane, kube, namespace, tmp_path
):
    """Held up between runner and API server, which carries it out when the runner is dead and all is put back."""
    seen: list[str] = []
    patches = itertools.count()
    held_up = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def follow() -> None:
        async for change in kube.watch(runner.place.removesuffix("/victim"), fields="metadata.name=victim"):
            value = change.object.get("data", {}).get("field", "")
            if value and seen[-1:] != [value]:
                seen.append(value)

    def late(method: str, path: str) -> Delay | None:
        if method != "PATCH" or "configmaps/victim" not in path or next(patches):
            return None
        loop.call_soon_threadsafe(held_up.set)
        return Delay(2.0)

    proxy = FaultyProxy(shared_plane.url)
    try:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(shared_plane.kubeconfig.read_text().replace(shared_plane.url, proxy.url))
        await runner.start(SimpleNamespace(kubeconfig=kubeconfig), settle=3.0)
        following = asyncio.create_task(follow())
        proxy.fault = late
        runner.say("again")
        async with asyncio.timeout(60):
            await held_up.wait()
        await runner.kill()
        await runner.undone()
        await runner.watchdog_left()
        async with asyncio.timeout(60):
            while seen[-2:] != ["new", "old"] or len(seen) < 4:
                await asyncio.sleep(0.05)
        assert seen == ["new", "old", "new", "old"]
        assert await runner.field() == "old"
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    finally:
        proxy.close()
