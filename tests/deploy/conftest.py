from __future__ import annotations

import pytest
from own_sandbox import own_sandbox

from drillbook.model.experiment import TargetSpec
from drillbook.targets.target import open_target


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """A whole sandbox with two engines, in which a Job's pod is a process."""
    with own_sandbox(tmp_path_factory.mktemp("home"), "deploy", replicas=2) as sandbox:
        yield sandbox


@pytest.fixture
async def target(sandbox):
    async with await open_target(TargetSpec(), sandbox=sandbox) as target:
        yield target
