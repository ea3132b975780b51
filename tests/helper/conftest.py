from __future__ import annotations

import pytest
from own_sandbox import own_sandbox

from drillbook.model.experiment import TargetSpec
from drillbook.targets.target import open_target


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """A whole sandbox with one engine: real processes, of which helper pods see the sandbox's and no other."""
    with own_sandbox(tmp_path_factory.mktemp("home"), "helper", replicas=1) as sandbox:
        yield sandbox


@pytest.fixture
async def target(sandbox):
    async with await open_target(TargetSpec(), sandbox=sandbox) as target:
        yield target


@pytest.fixture
async def engine(target):
    return (await target.pods("engine"))[0]
