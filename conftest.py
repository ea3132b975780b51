"""What all tests share: a state folder of their own, and honest skips for what this machine lacks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOME = Path(tempfile.mkdtemp(prefix="drillbook-tests-"))
os.environ["DRILLBOOK_HOME"] = str(_HOME)  # before any import of drillbook, and for every process that a test starts
os.environ["DRILLBOOK_TESTS"] = str(_HOME)  # the mark by which a process that outlives the tests is found
_SWEEP = """read all_is_well || for again in 1 2; do
    for process in /proc/[0-9]*; do
        grep -qzx "DRILLBOOK_TESTS=$0" $process/environ && kill -9 ${process#/proc/}
    done
    sleep 1
done 2> /dev/null; rm -rf "$0" """
_sweeper = subprocess.Popen(  # its end of the pipe closes when we are killed, in whatever way: no fixture is ended then
    ["sh", "-c", _SWEEP, str(_HOME)], stdin=subprocess.PIPE, env={"PATH": os.defpath}, start_new_session=True
)
signal.signal(signal.SIGINT, signal.default_int_handler)  # where it is ignored (`make test &`), runners would ignore it
signal.signal(signal.SIGTERM, signal.default_int_handler)  # of `timeout`: what the fixtures made is removed as well

REQUIREMENTS = {
    "root": (sys.platform == "linux" and os.geteuid() == 0, "needs Linux and root"),
    "vllm": ("DRILLBOOK_VLLM_PYTHON" in os.environ, "needs real vLLM: make test-vllm"),
    "cluster": ("DRILLBOOK_TEST_KUBECONFIG" in os.environ, "needs a cluster: make test-cluster KUBECONFIG=…"),
    "kubectl": (shutil.which("kubectl") is not None, "needs kubectl on the PATH"),
}


WHOLE = ("ecosystem", "failing_world")
"""Folders whose tests run whole drills, or others' tools, again and again: minutes, not seconds (`make test-whole`)."""


APART = ("adversarial", "chaostoolkit", "cli", "experiments", "load", "reports", "sandbox_control", "targets", "undo")
"""Folders whose files share nothing: each file may run beside the others."""


@pytest.hookimpl(tryfirst=True)  # before xdist, which makes groups of what is marked by then
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.parent.name  # whose tests share its sandbox
        group = f"{folder}/{item.path.stem}" if folder in APART else folder
        item.add_marker(pytest.mark.xdist_group(group))
        if item.path.parent.name in WHOLE:
            item.add_marker("whole")
        for marker, (present, reason) in REQUIREMENTS.items():
            if not present and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def no_forgotten_event_loop() -> None:
    """Python 3.11 makes an event loop for whoever asks outside one, and pytest-asyncio asks: nobody would close it."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session", autouse=True)
def no_process_outlives_its_test() -> Iterator[None]:
    """A watchdog that finds its target removed leaves by itself within seconds; anything else was forgotten."""
    yield
    deadline = time.monotonic() + 30
    while _left() and time.monotonic() < deadline:
        time.sleep(0.2)
    left = _left()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"left running: {left}"


def _left() -> dict[int, str]:
    """Command lines of drillbook's processes that bear the mark of these tests."""
    mark, found = f"DRILLBOOK_TESTS={_HOME}".encode(), {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone, or another user's
            command = (entry / "cmdline").read_bytes()
            ours = b"drillbook." in command and mark in (entry / "environ").read_bytes().split(b"\0")
            if ours and int(entry.name) != os.getpid():
                found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


def pytest_unconfigure() -> None:
    _sweeper.communicate(b"\n")
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder for one test alone."""
    monkeypatch.setenv("DRILLBOOK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
