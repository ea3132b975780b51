"""What all tests share: a state folder of their own, and honest skips for what this machine lacks."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

_HOME = Path(tempfile.mkdtemp(prefix="drillbook-tests-"))
os.environ["DRILLBOOK_HOME"] = str(_HOME)  # before any import of drillbook, and for every process that a test starts

REQUIREMENTS = {
    "root": (sys.platform == "linux" and os.geteuid() == 0, "needs Linux and root"),
    "vllm": ("DRILLBOOK_VLLM_PYTHON" in os.environ, "needs real vLLM: make test-vllm"),
    "cluster": ("DRILLBOOK_TEST_KUBECONFIG" in os.environ, "needs a cluster: make test-cluster KUBECONFIG=…"),
    "kubectl": (shutil.which("kubectl") is not None, "needs kubectl on the PATH"),
}


WHOLE = ("attack", "failing_world")
"""Folders whose tests run whole drills again and again: minutes, not seconds (`make test-whole`)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in WHOLE:
            item.add_marker("whole")
        for marker, (present, reason) in REQUIREMENTS.items():
            if not present and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def no_forgotten_event_loop() -> None:
    """Python 3.11 makes an event loop for whoever asks outside one, and pytest-asyncio asks: nobody would close it."""
    asyncio.set_event_loop(None)


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder for one test alone."""
    monkeypatch.setenv("DRILLBOOK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
