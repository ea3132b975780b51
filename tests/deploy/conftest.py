from __future__ import annotations

import asyncio
import os

import pytest

from drillbook.model.experiment import TargetSpec
from drillbook.targets.target import open_target


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """A whole sandbox with two engines, in which a Job's pod is a process."""
    from drillbook.sandbox import lifecycle

    if os.geteuid() != 0:
        pytest.skip("exec and helper pods need root")
    before, os.environ["DRILLBOOK_HOME"] = os.environ.get("DRILLBOOK_HOME"), str(tmp_path_factory.mktemp("home"))
    yield asyncio.run(lifecycle.up("deploy", replicas=2))
    asyncio.run(lifecycle.down("deploy"))
    if before is None:
        del os.environ["DRILLBOOK_HOME"]
    else:
        os.environ["DRILLBOOK_HOME"] = before


@pytest.fixture
async def target(sandbox):
    async with await open_target(TargetSpec(), sandbox=sandbox) as target:
        yield target
