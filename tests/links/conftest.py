from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from link_bench import is_ready
from own_sandbox import own_sandbox

from drillbook.model.experiment import TargetSpec
from drillbook.sandbox.lifecycle import Sandbox
from drillbook.targets.target import Target, open_target


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One engine over two pods; its ranks talk over their own network."""
    with own_sandbox(tmp_path_factory.mktemp("home"), "links", stack_name="distributed") as sandbox:
        yield sandbox


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
