from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from drill_bench import Bench, until

from drillbook.sandbox import lifecycle


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lifecycle.Sandbox]:
    """One sandbox with three engines for all drills; its home is that of every process that a test starts."""
    if os.geteuid() != 0:
        pytest.skip("process faults need PID namespaces, and those need root")
    before, os.environ["DRILLBOOK_HOME"] = os.environ.get("DRILLBOOK_HOME"), str(tmp_path_factory.mktemp("home"))
    yield asyncio.run(lifecycle.up("drills", settings={"backoff_initial": 0.5, "backoff_max": 1.0}))
    asyncio.run(lifecycle.down("drills"))
    if before is None:
        del os.environ["DRILLBOOK_HOME"]
    else:
        os.environ["DRILLBOOK_HOME"] = before


@pytest.fixture
def bench(sandbox: lifecycle.Sandbox, tmp_path: Path) -> Iterator[Bench]:
    """The sandbox with all its engines ready and none stopped; nothing of the test's is left running."""
    bench = Bench(sandbox, tmp_path)
    until(bench.whole, 90)
    yield bench
    bench.close()
