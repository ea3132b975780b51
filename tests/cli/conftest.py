from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from drillbook.cli.main import main


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch):
    """Each test has a state folder of its own: none vouches for Python in the developer's."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("DRILLBOOK_HOME", str(folder))
    monkeypatch.delenv("DRILLBOOK_DEBUG", raising=False)
    return folder


@pytest.fixture(autouse=True)
def signals():
    """What a command line that ends in this process leaves ignored is heard again."""
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in heard.items():
        signal.signal(number, handler)


@pytest.fixture
def drillbook() -> Callable[..., Result]:
    """The command line in this process."""
    return lambda *args: CliRunner().invoke(main, list(map(str, args)), prog_name="drillbook")


@pytest.fixture
def shell() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line as a process of its own."""

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "drillbook", *args]
        return subprocess.run(command, capture_output=True, text=True, env=os.environ | env, timeout=90, check=False)

    return run
