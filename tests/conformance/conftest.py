"""The cluster under test, and acts: what takes a while is begun at once, for all tests, and each waits for its own.

The cluster is a sandbox, or with ``DRILLBOOK_TEST_KUBECONFIG`` any other (``make test-cluster KUBECONFIG=…``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from stage import Stage

from drillbook.sandbox import lifecycle
from drillbook.targets.kube import Kube

Act = Callable[[Stage], Coroutine[Any, Any, Any]]
_WATCHED = {"pods": "v1", "events": "v1", "endpoints": "v1", "deployments": "apps/v1", "replicasets": "apps/v1"}
_ONCE = {"scope": "package", "loop_scope": "session"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what bothers every pod of a node behind all else of this suite."""
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    ordered = sorted((items[place] for place in places), key=lambda item: "alone" in getattr(item, "fixturenames", ()))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest_asyncio.fixture(**_ONCE)
async def kubeconfig() -> AsyncIterator[Path]:
    given = os.environ.get("DRILLBOOK_TEST_KUBECONFIG")
    if given:
        yield Path(given)
        return
    if os.geteuid() != 0:
        pytest.skip("needs Linux and root: without, the sandbox's pods share the machine")
    sandbox = await lifecycle.up("conformance", replicas=1)
    await lifecycle.control_down("conformance")  # as on a cluster of some age, history does not reach back to the start
    await lifecycle.control_up("conformance")
    yield sandbox.kubeconfig
    await lifecycle.down("conformance")


@pytest_asyncio.fixture(**_ONCE)
async def stage(kubeconfig: Path) -> AsyncIterator[Stage]:
    """A fresh namespace, all of whose happenings are recorded; it is deleted afterwards."""
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        name = f"drillbook-conformance-{uuid.uuid4().hex[:6]}"
        made = Stage(kube, str(kubeconfig), name, "DRILLBOOK_TEST_KUBECONFIG" not in os.environ, await kube.version())
        await kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
        tasks = [await made.record(plural, api) for plural, api in _WATCHED.items()]
        try:
            async with asyncio.timeout(60):
                while await kube.find(made.path("serviceaccounts", "default")) is None:
                    await asyncio.sleep(0.05)
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await kube.delete(f"/api/v1/namespaces/{name}")
            await made.gone(f"/api/v1/namespaces/{name}", within=240)  # looked at again after 5, 10, 20 … seconds


@pytest_asyncio.fixture(**_ONCE)
async def acts(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[dict[Act, asyncio.Task[Any]]]:
    """The acts of all tests that were selected, under way."""
    few = asyncio.Semaphore(12 if stage.simulated else 4)  # a real kubelet makes five API calls a second

    async def perform(act: Act) -> Any:
        async with few:
            return await act(stage)

    wanted = [
        item.callspec.params["told"]
        for item in request.session.items
        if item.path.parent == Path(__file__).parent
        and "told" in getattr(getattr(item, "callspec", None), "params", {})
    ]
    tasks = {act: asyncio.create_task(perform(act)) for act in dict.fromkeys(wanted)}
    yield tasks
    for task in tasks.values():
        task.cancel()
        with contextlib.suppress(BaseException):  # skips and failures were told by the tests
            await task


@pytest_asyncio.fixture(loop_scope="session")
async def told(acts: dict[Act, asyncio.Task[Any]], request: pytest.FixtureRequest) -> Any:
    """What the act of this test returned: ``@pytest.mark.parametrize("told", [act], indirect=True)``."""
    return await acts[request.param]


@pytest_asyncio.fixture(loop_scope="session")
async def quiet(acts: dict[Act, asyncio.Task[Any]]) -> None:
    """All acts are over: what follows may bother every pod of a node."""
    await asyncio.gather(*acts.values(), return_exceptions=True)
