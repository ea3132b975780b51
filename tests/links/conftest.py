from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from drillbook.sandbox import lifecycle
from drillbook.sandbox.lifecycle import Sandbox


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
