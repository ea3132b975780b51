"""A sandbox for a folder's tests alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drillbook.sandbox import lifecycle
from drillbook.sandbox.lifecycle import Sandbox


@contextmanager
def own_home(folder: Path) -> Iterator[Path]:
    """The state folder of this process, and of every process that the tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRILLBOOK_HOME", str(folder))
        yield folder


@contextmanager
def own_sandbox(folder: Path, name: str, **options: Any) -> Iterator[Sandbox]:
    """One that is up, in a home of its own; ``options`` are those of ``lifecycle.up``."""
    if os.geteuid() != 0:
        pytest.skip("exec, helper pods and faults in processes need namespaces, and those need root")
    with own_home(folder):
        try:
            yield asyncio.run(lifecycle.up(name, **options))
        finally:
            asyncio.run(lifecycle.down(name))
