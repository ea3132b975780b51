from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from link_bench import is_ready

from drillbook.model.experiment import TargetSpec
from drillbook.sandbox import lifecycle
from drillbook.sandbox.lifecycle import Sandbox
from drillbook.targets.target import Target, open_target


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One engine over two pods; its ranks talk over their own network."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    home = tmp_path_factory.mktemp("links")
    before = os.environ.get("DRILLBOOK_HOME")
    os.environ["DRILLBOOK_HOME"] = str(home)
    try:
        yield asyncio.run(lifecycle.up("links", stack_name="distributed"))
    finally:
        asyncio.run(lifecycle.down("links"))
        if before is None:
            del os.environ["DRILLBOOK_HOME"]
        else:
            os.environ["DRILLBOOK_HOME"] = before


@pytest.fixture
async def target(sandbox: Sandbox) -> AsyncIterator[Target]:
    spec = TargetSpec(stack="leaderworkerset")
    async with await open_target(spec, sandbox=sandbox) as target, asyncio.timeout(90):
        while [pod["metadata"]["name"] for pod in await target.pods("engine") if is_ready(pod)] != [
            "vllm-0",
            "vllm-0-1",
        ]:
            await asyncio.sleep(0.1)
        yield target
