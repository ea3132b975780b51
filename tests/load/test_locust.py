"""The same load through Locust: the records must say what those of our own engine say."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from drillbook.errors import UnsupportedError, UsageError
from drillbook.load import engines, slis
from drillbook.load.config import GeneratorConfig
from drillbook.load.locust.config import LocustConfig
from drillbook.load.locust.process import LocustFleet, LocustGenerator
from drillbook.load.process import Generator, GeneratorError
from drillbook.load.slis import Latency
from drillbook.model.events import Line, LoadTicked, Noted
from drillbook.model.experiment import LoadSpec
from drillbook.model.request import Outcome, RequestRecord

pytestmark = pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="Locust is not installed")


def settings(server, folder: Path, **changes) -> dict:
    given = {"rate": 40.0, "output_tokens": 4, "stall_timeout": 2.0, "timeout": 5.0} | changes
    return {"writer": "load", "folder": str(folder), "base_url": server.url, "model": "tiny", **given}


def locust(server, folder: Path, **changes) -> LocustConfig:
    return LocustConfig(**settings(server, folder, **changes))


def written(folder: Path, writer: str = "load") -> list[Line]:
    decode = msgspec.json.Decoder(Line).decode
    return [decode(line) for line in (folder / f"requests-{writer}.jsonl").read_bytes().splitlines()]


def records(lines: list[Line]) -> list[RequestRecord]:
    return [line.event for line in lines if isinstance(line.event, RequestRecord)]


def notes(lines: list[Line]) -> list[str]:
    return [line.event.text for line in lines if isinstance(line.event, Noted)]


async def until(generator: Generator, count: int) -> list[Line]:
    lines = []
    async for line in generator:
        lines.append(line)
        if len(records(lines)) >= count:
            break
    return lines


async def collected(generator: Generator, count: int, drain: float = 5) -> list[Line]:
    async with generator:
        lines = await until(generator, count)
        await generator.stop(drain=drain)
        return lines + [line async for line in generator]


async def test_both_engines_tell_the_same_of_the_same_server(server, tmp_path):
    answers = ["ok", "ok", "error event", "cut", "503", "silent", "no finish"]

    async def mixed(reply):
        number = int(reply.request.headers["X-Request-Id"].rpartition("-")[2])
        kind = answers[number % len(answers)]
        if kind == "503":
            return server_error()
        await asyncio.sleep(0.05)
        await reply.tokens(2)
        if kind == "ok":
            await reply.finish()
        elif kind == "error event":
            await reply.event({"error": {"message": "engine died", "code": 500}})
            await reply.event(b"[DONE]")
        elif kind == "cut":
            reply.cut()
        elif kind == "silent":
            await reply.forever()
        elif kind == "no finish":
            await reply.finish(reason=None)
        return None

    def server_error():
        from aiohttp import web

        return web.json_response({"error": {"message": "full", "code": 503}}, status=503)

    server.script = mixed
    told = {}
    for name, kind, config in (
        ("ours", Generator, GeneratorConfig(**settings(server, tmp_path, writer="ours", rate=80.0, stall_timeout=0.4))),
        ("locust", LocustGenerator, locust(server, tmp_path, writer="locust", rate=80.0, stall_timeout=0.4)),
    ):
        lines = await collected(kind(config), 63)
        told[name] = sorted(records(lines), key=lambda record: int(record.id.rpartition("-")[2]))[:56]
        assert lines == written(tmp_path, name)
        assert [line.seq for line in lines] == list(range(len(lines)))
        assert lines[-1].event.in_flight == 0 if name == "ours" else "Locust counted" in notes(lines)[-1]
    ours, theirs = told["ours"], told["locust"]
    assert [record.outcome for record in theirs] == [record.outcome for record in ours]
    assert {Outcome.OK, Outcome.TRUNCATED, Outcome.SHED, Outcome.HUNG} == {record.outcome for record in theirs}
    assert [(record.status, record.chunks, record.finish_reason) for record in theirs] == [
        (record.status, record.chunks, record.finish_reason) for record in ours
    ]
    schedules = [[record.scheduled - some[0].scheduled for record in some] for some in (ours, theirs)]
    assert schedules[1] == pytest.approx(schedules[0], abs=1e-6)  # one seed, one timetable
    first = [slis.quantile(slis.samples(some, Latency.TTFT), 0.5) for some in (ours, theirs)]
    assert first[0] >= 0.05
    assert first[1] >= 0.05
    assert abs(first[1] - first[0]) < 0.1


async def test_locusts_own_statistics_agree_with_the_records(server, tmp_path):
    lines = await collected(LocustGenerator(locust(server, tmp_path)), 20)
    assert {record.outcome for record in records(lines)} == {Outcome.OK}
    assert notes(lines)[-1] == f"Locust counted {len(records(lines))} requests, 0 of them failures"
    assert "through Locust 2." in notes(lines)[0]
    assert sum(line.event.tokens for line in lines if isinstance(line.event, LoadTicked)) == 4 * len(records(lines))
    assert len(server.connections) < len(records(lines)) / 2  # they are kept and used again


async def test_a_server_that_stands_still_is_asked_all_the_same(server, tmp_path):
    """Two seconds in which nothing is answered: users who came then waited, and the quantiles say so."""
    standing = asyncio.Event()
    whole = server.script

    async def stalling(reply):
        await standing.wait()
        return await whole(reply)

    server.script = stalling
    async with LocustGenerator(
        locust(server, tmp_path, arrivals="constant", stall_timeout=20, timeout=30)
    ) as generator:
        while len(server.seen) < 80:  # two seconds of arrivals came though none was answered
            await asyncio.sleep(0.01)
        standing.set()
        await generator.stop(drain=10)
        lines = [line async for line in generator]
    got = sorted(records(lines), key=lambda record: record.scheduled)
    assert {record.outcome for record in got} == {Outcome.OK}
    gaps = [late.scheduled - early.scheduled for early, late in itertools.pairwise(got)]
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(1 / 40, abs=1e-6)
    ttft = slis.samples(got, Latency.TTFT)
    assert slis.quantile(ttft, 0.5) > 0.8  # of waits from 2 s down to 0; a closed loop would have seen one long wait
    assert slis.quantile(ttft, 0.95) > 1.7


async def test_pace_and_stop_are_obeyed(server, tmp_path):
    async def endless(reply):
        await reply.tokens(1)
        await reply.forever()

    server.script = endless
    config = locust(server, tmp_path, rate=0.01, arrivals="constant", stall_timeout=60, timeout=60)
    async with LocustGenerator(config) as generator:
        first = await anext(aiter(generator))
        generator.pace(first.mono, 50.0)
        while len(server.seen) < 20:
            await asyncio.sleep(0.01)
        await generator.stop(drain=0.1)
        lines = [line async for line in generator]
    assert len(records(lines)) >= 20
    assert {(record.outcome, record.error) for record in records(lines)} == {
        (Outcome.UNKNOWN, "given up: the run ended")
    }


async def test_two_workers_share_the_rate_and_their_master_counts_everything(server, tmp_path):
    fleet = LocustFleet(locust(server, tmp_path, rate=60.0, workers=2))
    lines = await collected(fleet, 80)
    assert fleet.failure is None
    files = {name: written(tmp_path, name) for name in ("load-1", "load-2", "load-master")}
    everything = {(line.writer, line.seq) for some in files.values() for line in some}
    assert everything == {(line.writer, line.seq) for line in lines} | {("load-master", 0)}
    first, second = (records(files[name]) for name in ("load-1", "load-2"))
    for share in (first, second):
        rate = len(share) / (share[-1].scheduled - share[0].scheduled)
        assert rate == pytest.approx(30, abs=4 * 30 / len(share) ** 0.5)  # a Poisson process, four deviations
    assert not {record.scheduled for record in first} & {record.scheduled for record in second}
    assert fleet.sent[1] == len(first) + len(second)
    counted = f"Locust counted {len(records(lines))} requests, 0 of them failures"
    assert notes(files["load-master"])[-1] == counted


async def test_a_worker_that_dies_is_told_at_once(server, tmp_path):
    fleet = LocustFleet(locust(server, tmp_path, workers=2))
    async with fleet:
        await until(fleet, 5)
        os.kill(fleet.workers[1].pid, signal.SIGKILL)
        with pytest.raises(GeneratorError, match="load-2: it died: killed by SIGKILL"):
            await until(fleet, 10_000)


@pytest.mark.parametrize("kind", [LocustGenerator, LocustFleet])
def test_a_flood_is_refused_where_one_load_only_is_sent(server, tmp_path, kind):
    with pytest.raises(UnsupportedError, match="sends one load only"):
        kind(locust(server, tmp_path, workers=2)).flood(at=0, until=1, rate=1, prompts="long", times=1, output_tokens=1)


async def test_without_locust_it_is_said_how_to_get_it(server, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for generator in (LocustGenerator(locust(server, tmp_path)), LocustFleet(locust(server, tmp_path, workers=2))):
        with pytest.raises(UsageError, match="not installed") as caught:
            async with generator:
                pass
        assert caught.value.hint == "pip install 'drillbook[locust]'"
    assert not list(tmp_path.iterdir())


def test_the_runner_never_imports_gevent():
    code = "import sys, drillbook.experiments.drill; "
    code += "sys.exit(any(name in sys.modules for name in ('gevent', 'locust')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("spec", "kind", "told"),
    [
        ({}, Generator, "drillbook"),
        ({"engine": "locust"}, LocustGenerator, "Locust"),
        ({"engine": "locust", "workers": 3}, LocustFleet, "Locust, a master and 3 workers"),
        ({"engine": "locust", "in": "pods"}, None, "Locust, a master and 1 worker, in pods of the cluster"),
    ],
    ids=["by default", "locust", "workers", "pods"],
)
def test_an_experiment_names_its_engine(server, tmp_path, spec, kind, told):
    load = LoadSpec.model_validate({"rate": "5/s"} | spec)
    assert engines.told(load) == told
    if kind is None:  # which takes a cluster
        return
    generator = engines.generator(load, GeneratorConfig(**settings(server, tmp_path)))
    assert type(generator) is kind
    assert generator.rate == 40


def test_workers_are_refused_to_the_engine_that_has_none():
    with pytest.raises(ValueError, match="more than one worker needs `engine: locust`"):
        LoadSpec.model_validate({"rate": "5/s", "workers": 2})
    with pytest.raises(ValueError, match="`in: pods` needs `engine: locust`"):
        LoadSpec.model_validate({"rate": "5/s", "in": "pods"})


def test_an_engine_that_is_not_here_is_refused_before_anything_is_planned(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    engines.check(LoadSpec.model_validate({"rate": "5/s"}))
    engines.check(LoadSpec.model_validate({"rate": "5/s", "engine": "locust", "in": "pods"}))  # their image has it
    with pytest.raises(UsageError, match="not installed"):
        engines.check(LoadSpec.model_validate({"rate": "5/s", "engine": "locust"}))
