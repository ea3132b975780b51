from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from drill_bench import Bench, until
from own_sandbox import own_sandbox

from drillbook.sandbox import lifecycle


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lifecycle.Sandbox]:
    """One sandbox with three engines for all drills; its home is that of every process that a test starts."""
    settings = {"backoff_initial": 0.5, "backoff_max": 1.0}
    with own_sandbox(tmp_path_factory.mktemp("home"), "drills", settings=settings) as sandbox:
        yield sandbox


@pytest.fixture
def bench(sandbox: lifecycle.Sandbox, tmp_path: Path) -> Iterator[Bench]:
    """The sandbox with all its engines ready and none stopped; nothing of the test's is left running."""
    bench = Bench(sandbox, tmp_path)
    until(bench.whole, 90)
    yield bench
    bench.close()
