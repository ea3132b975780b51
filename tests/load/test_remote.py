"""A generator whose process is elsewhere: its lines are written here, on the runner's clock."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import sys

import msgspec
import pytest

from drillbook import clock
from drillbook.load.locust import clocks, remote
from drillbook.load.locust.config import DRIFTED, LocustConfig
from drillbook.load.locust.place import HERE
from drillbook.load.locust.process import LocustGenerator, LocustMaster
from drillbook.load.process import GeneratorError
from drillbook.model.events import Line, LoadTicked, Noted
from drillbook.model.request import Outcome, RequestRecord
from drillbook.model.undo import ObjectRef
from drillbook.targets.answers import UnavailableError

locust = pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="Locust is not installed")
POD = ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace="llm", name="drillbook-load-1", uid="1")
OFFSET = 5000


class Elsewhere:
    """In the place of ``Kube``: what is exec'd in the pod runs on this machine, behind a monotonic clock of its own."""

    def __init__(self, drift: float = 0.0) -> None:
        self.offset, self.drift = float(OFFSET), drift
        self.pod: dict | None = {"metadata": {"uid": "1"}, "spec": {}, "status": {"phase": "Running"}}
        self.started: list[Exec] = []

    async def process(self, pod, container, argv):
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--time", "--monotonic", f"{self.offset:.0f}", *argv),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.offset += self.drift
        self.started.append(Exec(process))
        return self.started[-1]

    async def find(self, path):
        return self.pod


class Exec:
    """One exec, as ``PodProcess`` gives it."""

    def __init__(self, process):
        self._process = process
        self.stdout, self.stderr = process.stdout, process.stderr
        self.broken = False

    def write(self, data):
        self._process.stdin.write(data)

    def kill(self):
        self.broken = True
        self._process.stdin.close()

    def die(self):
        self._process.kill()

    async def wait(self):
        code = await self._process.wait()
        if self.broken:
            raise UnavailableError("the stream ended without saying how the program ended")
        return code


class There:
    """A place with that one pod in it."""

    def __init__(self, kube):
        self.kube = kube

    async def begin(self):
        return "127.0.0.1"

    async def launch(self, module, config):
        compared = await clocks.compare(self.kube, POD, sys.executable)
        process = await self.kube.process(POD, "helper", (sys.executable, "-m", module))
        told = msgspec.structs.replace(config, folder="", boot=compared.kept, ahead=compared.ahead)
        process.write(msgspec.json.encode(told) + b"\n")
        return remote.Remote(self.kube, POD, process, config, compared, sys.executable)

    async def end(self):
        """Nothing was made."""


@pytest.fixture
def elsewhere():
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a clock of its own needs a time namespace, and that needs root")
    return Elsewhere()


def config(server, folder, **changes):
    given = {"rate": 40.0, "output_tokens": 4, "stall_timeout": 2.0, "timeout": 5.0, "writer": "load-1"} | changes
    return LocustConfig(folder=str(folder), base_url=server.url, model="tiny", **given)


async def sent(generator, count=10):
    """Its lines until so many requests have ended, and then to the end."""
    lines, begun = [], clock.monotonic()
    async with generator:
        async for line in generator:
            lines.append(line)
            if sum(isinstance(each.event, RequestRecord) for each in lines) >= count:
                break
        await generator.stop(drain=5)
        with contextlib.suppress(GeneratorError):
            lines += [line async for line in generator]
    return lines, begun, clock.monotonic()


@locust
async def test_what_is_sent_elsewhere_is_on_the_runners_clock_and_in_its_folder(server, tmp_path, elsewhere):
    generator = LocustGenerator(config(server, tmp_path), There(elsewhere))
    lines, begun, ended = await sent(generator)
    assert generator.failure is None
    decode = msgspec.json.Decoder(Line).decode
    assert lines == [decode(line) for line in (tmp_path / "requests-load-1.jsonl").read_bytes().splitlines()]
    assert [line.seq for line in lines] == list(range(len(lines)))
    assert {line.boot for line in lines} == {clock.boot_id()}
    records = [line.event for line in lines if isinstance(line.event, RequestRecord)]
    assert {record.outcome for record in records} == {Outcome.OK}
    for record in records:
        assert begun < record.scheduled <= record.sent < record.end < ended  # not thousands of seconds away
    assert all(begun < line.mono < ended for line in lines)
    assert any(isinstance(line.event, LoadTicked) for line in lines)
    assert isinstance(lines[-1].event, Noted)
    assert "kept the runner's clock" in lines[-1].event.text


@locust
async def test_orders_are_in_the_runners_time(server, tmp_path, elsewhere):
    slow = config(server, tmp_path, rate=0.01, arrivals="constant")
    async with LocustGenerator(slow, There(elsewhere)) as generator:
        generator.pace(clock.monotonic(), 50.0)  # at a moment of another clock it would take hours
        async with asyncio.timeout(30):
            while len(server.seen) < 5:
                await asyncio.sleep(0.01)


async def test_a_clock_is_compared_within_half_a_round_trip(elsewhere):
    found = await clocks.compare(elsewhere, POD, sys.executable)
    assert found.ahead == pytest.approx(-OFFSET, abs=found.doubt + 1e-3)
    assert 0 < found.doubt < 1
    assert not found.same
    elsewhere.offset = 0
    same = await clocks.compare(elsewhere, POD, sys.executable)
    assert same.same
    assert same.kept == ""


@locust
async def test_a_clock_that_drifted_is_told(server, tmp_path, elsewhere):
    elsewhere.drift = 1.0
    lines, _, _ = await sent(LocustGenerator(config(server, tmp_path), There(elsewhere)))
    assert lines[-1].event.text.startswith(DRIFTED)


async def test_a_pod_that_does_not_tell_its_clock_is_not_used(elsewhere):
    with pytest.raises(UnavailableError, match="drillbook-load-1 does not tell its clock"):
        await clocks.compare(elsewhere, POD, "false")


@locust
async def test_a_process_that_dies_elsewhere_is_told_with_what_became_of_its_pod(server, tmp_path, elsewhere):
    generator = LocustGenerator(config(server, tmp_path), There(elsewhere))
    async with generator:
        elsewhere.pod = None
        elsewhere.started[-1].die()
        with pytest.raises(GeneratorError, match="killed by SIGKILL; the pod drillbook-load-1 is gone"):
            async for _ in generator:
                pass


@locust
async def test_a_stream_that_breaks_off_ends_the_load(server, tmp_path, elsewhere):
    generator = LocustGenerator(config(server, tmp_path), There(elsewhere))
    async with generator:
        elsewhere.started[-1].kill()
        with pytest.raises(GeneratorError, match="its stream broke off"):
            async for _ in generator:
                pass


@locust
async def test_a_worker_that_does_not_come_to_its_master_is_told(server, tmp_path):
    """The master alone: of its two workers none comes."""
    master = LocustMaster(config(server, tmp_path, writer="load-master", workers=2, connect=0.2), HERE)
    async with master:
        with pytest.raises(GeneratorError, match="exit code") as caught:
            async for _ in master:
                pass
    assert "only 0 of 2 workers came to 127.0.0.1" in caught.value.hint
