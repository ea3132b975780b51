"""Fixtures for the node agent's parts: each uses real processes and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from drillbook.sandbox.node.runtime_client import RuntimeClient


@pytest.fixture
def runtime_process(tmp_path: Path):
    """A container runtime in a process of its own; yields its folder."""
    folder = tmp_path / "node"
    folder.mkdir()
    script = "import sys, pathlib; from drillbook.sandbox.node import runtime; "
    script += "runtime.main(pathlib.Path(sys.argv[1]), ['aiohttp'], bridged=False)"
    with subprocess.Popen([sys.executable, "-c", script, str(folder)]) as process:
        yield folder
        process.terminate()


@pytest.fixture
async def client(runtime_process: Path):
    exits: dict[str, object] = {}
    client = RuntimeClient(runtime_process, exits.__setitem__, lambda: None)
    await client.connect()
    client.exits = exits
    yield client
    client.close()
