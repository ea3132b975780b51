from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from drillbook import clock
from drillbook.load import slis
from drillbook.load.client import Client
from drillbook.load.config import GeneratorConfig
from drillbook.load.generator import OpenLoop
from drillbook.load.process import Generator
from drillbook.load.slis import Latency
from drillbook.model.events import Line, LoadTicked, Noted
from drillbook.model.experiment import LoadSpec
from drillbook.model.request import Outcome, RequestRecord


@contextlib.asynccontextmanager
async def open_loop(server, **changes):
    settings = {"rate": 50.0, "arrivals": "constant", "output_tokens": 2, "stall_timeout": 30.0} | changes
    config = GeneratorConfig(writer="load", folder=".", base_url=server.url, model="tiny", **settings)
    emitted: list[RequestRecord | LoadTicked] = []
    async with Client(server.url, "tiny", stall_timeout=config.stall_timeout) as client:
        load = OpenLoop(config, client, ["hello"], emitted.append)
        running = asyncio.create_task(load.run(clock.monotonic()))
        try:
            yield emitted
        finally:
            load.stop(0)
            await running


async def until(condition, within=60.0):
    deadline = clock.monotonic() + within
    while not condition():
        assert clock.monotonic() < deadline
        await asyncio.sleep(0.01)


def of(kind, emitted):
    return [event for event in emitted if isinstance(event, kind)]


async def test_the_quantiles_of_a_server_that_stalls_are_those_of_the_schedule(server, tmp_path):
    whole = server.script
    began = asyncio.get_running_loop().create_future()

    async def stalling(reply):
        if not began.done():
            began.set_result(clock.monotonic())
        stall, back = began.result() + 0.5, began.result() + 2.5
        if stall <= clock.monotonic() < back:
            await asyncio.sleep(back - clock.monotonic())
        await whole(reply)

    server.script = stalling
    spec = LoadSpec(rate="50/s", arrivals="constant", **{"output-tokens": 2})
    config = GeneratorConfig.of(spec, folder=tmp_path, base_url=server.url, model="tiny")
    async with Generator(config) as generator:
        start = await began
        await asyncio.sleep(start + 3.0 - clock.monotonic())
        await generator.stop(5)
        seen = of(RequestRecord, [line.event async for line in generator])
    stall, back = start + 0.5, start + 2.5
    due = sorted(one.scheduled for one in seen)
    assert len(due) == round((due[-1] - due[0]) * 50) + 1 >= 145  # the schedule's, however late it was told to stop
    truth = sorted(back - one.scheduled if stall <= one.scheduled < back else 0.0 for one in seen)
    ttfts = slis.samples(seen, Latency.TTFT)
    for q in (0.25, 0.5, 0.75, 0.9, 0.95, 0.99):  # a closed loop would have sent one request into the stall
        assert slis.quantile(ttfts, q) == pytest.approx(slis.quantile(truth, q), abs=0.5)


async def test_answers_that_never_come_do_not_hold_up_the_schedule(server):
    async def hang(reply):
        await reply.forever()

    server.script = hang
    async with open_loop(server) as emitted:
        await until(lambda: len(server.seen) >= 40)
        await until(lambda: of(LoadTicked, emitted))
    tick = of(LoadTicked, emitted)[0]
    assert tick.in_flight == tick.sent > 40
    assert 0.5 < tick.oldest < 20
    ended = of(RequestRecord, emitted)
    assert {one.outcome for one in ended} == {Outcome.UNKNOWN}
    due = sorted(one.scheduled for one in ended)  # given up at once, they end in any order
    gaps = [late - early for early, late in itertools.pairwise(due)]
    assert gaps == pytest.approx([1 / 50] * len(gaps))


async def test_the_loops_own_delay_is_told_as_lag(server):
    async with open_loop(server) as emitted:
        await until(lambda: len(server.seen) >= 5)
        time.sleep(0.3)
        await until(lambda: of(LoadTicked, emitted))
    assert of(LoadTicked, emitted)[0].lag_max > 0.2
    assert of(LoadTicked, emitted)[0].lag_p99 > 0.2


async def test_arrivals_beyond_the_ceiling_are_recorded_as_not_sent(server):
    async def hang(reply):
        await reply.forever()

    server.script = hang
    async with open_loop(server, max_in_flight=3, timeout=60.0) as emitted:
        await until(lambda: len(of(RequestRecord, emitted)) >= 5)
        await until(lambda: of(LoadTicked, emitted))
    unsent = of(RequestRecord, emitted)[:5]
    assert {(one.outcome, one.error) for one in unsent} == {
        (Outcome.UNKNOWN, "not sent: 3 requests were in flight already")
    }
    assert [one.sent - one.scheduled for one in unsent] == pytest.approx([60.0] * 5)
    tick = of(LoadTicked, emitted)[0]
    assert (tick.sent, tick.in_flight, tick.lag_max) == (3, 3, 60.0)
    assert len(server.seen) == 3


async def test_a_fault_of_our_own_is_never_counted_against_the_server(server, monkeypatch):
    async def broken(self, exchange):
        raise ZeroDivisionError

    monkeypatch.setattr(Client, "run", broken)
    loop = open_loop(server)
    emitted = await loop.__aenter__()
    await until(lambda: of(LoadTicked, emitted))
    with pytest.raises(ExceptionGroup) as caught:
        await loop.__aexit__(None, None, None)
    assert caught.group_contains(ZeroDivisionError)
    assert {one.outcome for one in of(RequestRecord, emitted)} == {Outcome.UNKNOWN}


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.root
async def test_a_full_disk_is_told_and_the_file_is_whole_once_there_is_room(server, small_disk: Path):
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 60_000)
    config = GeneratorConfig(
        writer="load", folder=str(small_disk), base_url=server.url, model="tiny", rate=100.0, output_tokens=8
    )
    lines: list[Line] = []
    async with Generator(config) as generator:
        async for line in generator:
            lines.append(line)
            if len(lines) > 1 and isinstance(line.event, Noted):
                break
        filler.unlink()
        await generator.stop(2)
        lines += [line async for line in generator]
    assert "requests-load.jsonl cannot be written: No space left on device" in {
        line.event.text for line in lines if isinstance(line.event, Noted)
    }
    decode = msgspec.json.Decoder(Line).decode
    assert [decode(line) for line in config.path.read_bytes().splitlines()] == lines
