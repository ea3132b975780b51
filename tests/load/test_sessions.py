"""Requests that belong to users' sessions: who asks is drawn by the seed, said in a header and written down."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from drillbook.load import engines, schedule
from drillbook.load.config import GeneratorConfig
from drillbook.model.events import Line
from drillbook.model.experiment import LoadSpec
from drillbook.model.request import RequestRecord

ENGINES = [
    "drillbook",
    pytest.param(
        "locust",
        marks=pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="Locust is not installed"),
    ),
]


def test_sessions_are_drawn_evenly_and_the_same_for_the_same_seed() -> None:
    draws = list(itertools.islice(schedule.sessions(4, 1), 4000))
    assert draws == list(itertools.islice(schedule.sessions(4, 1), 4000))
    assert draws != list(itertools.islice(schedule.sessions(4, 2), 4000))
    counts = Counter(draws)
    assert set(counts) == {"session-0", "session-1", "session-2", "session-3"}
    assert min(counts.values()) > 900


async def sent(server, folder: Path, count: int, **load) -> list[Line]:
    spec = LoadSpec(**{"rate": "60/s", "arrivals": "constant", "output-tokens": 1, **load})
    config = GeneratorConfig.of(spec, folder=folder, base_url=server.url, model="tiny")
    lines: list[Line] = []
    async with engines.generator(spec, config) as sending, asyncio.timeout(60):
        async for line in sending:
            lines.append(line)
            if sum(isinstance(each.event, RequestRecord) for each in lines) >= count:
                break
        await sending.stop(5)
        lines += [line async for line in sending]
    return lines


def records(lines: list[Line]) -> list[RequestRecord]:
    found = [line.event for line in lines if isinstance(line.event, RequestRecord)]
    return sorted(found, key=lambda one: one.scheduled)


@pytest.mark.parametrize("engine", ENGINES)
async def test_each_request_says_whose_it_is_and_is_written_down_so(server, tmp_path: Path, engine: str) -> None:
    lines = await sent(server, tmp_path, 20, engine=engine, sessions=3)
    expected = list(itertools.islice(schedule.sessions(3, 1), len(records(lines))))
    assert [one.session for one in records(lines)] == expected
    said = {headers["x-request-id"]: headers["x-session-id"] for headers in server.seen_headers}
    assert said == {one.id: one.session for one in records(lines)}
    assert any(", 3 sessions" in getattr(line.event, "text", "") for line in lines)


async def test_the_header_is_the_routers(server, tmp_path: Path) -> None:
    await sent(server, tmp_path, 3, sessions=1, **{"session-header": "x-user-id"})
    assert {headers["x-user-id"] for headers in server.seen_headers} == {"session-0"}
    assert not any("x-session-id" in headers for headers in server.seen_headers)


async def test_without_sessions_nothing_is_said_of_them(server, tmp_path: Path) -> None:
    lines = await sent(server, tmp_path, 3)
    assert not any("x-session-id" in headers for headers in server.seen_headers)
    assert not any(b"session" in msgspec.json.encode(line) for line in lines)


async def test_arrivals_and_prompts_are_those_of_a_load_without_sessions(server, tmp_path: Path) -> None:
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
    whose = records(await sent(server, tmp_path / "with", 8, arrivals="poisson", sessions=2))[:8]
    asked = [body["messages"] for body in server.seen[:8]]
    server.seen.clear()
    nobodys = records(await sent(server, tmp_path / "without", 8, arrivals="poisson"))[:8]
    assert [body["messages"] for body in server.seen[:8]] == asked
    gaps = [[late.scheduled - early.scheduled for early, late in itertools.pairwise(each)] for each in (whose, nobodys)]
    assert gaps[0] == pytest.approx(gaps[1])


async def test_what_a_server_says_of_a_session_is_no_secret(server, tmp_path: Path) -> None:
    async def refuse(reply) -> None:
        await reply.event({"error": {"message": "session-0 is not known", "code": 500}})

    server.script = refuse
    lines = await sent(server, tmp_path, 2, sessions=1)
    assert {one.error for one in records(lines)[:2]} == {"session-0 is not known"}


def test_a_record_of_before_is_read_and_written_as_it_stood() -> None:
    old = (
        b'{"type":"request","id":"load-0","stream":"load","scheduled":1.0,"sent":1.0,"first_byte":1.1,"tokens":[100000],'
        b'"end":1.2,"outcome":"ok","status":200,"error":"","finish_reason":"length","replica":null,"wanted_tokens":1,'
        b'"prompt_tokens":7}'
    )
    record = msgspec.json.decode(old, type=RequestRecord)
    assert record.session is msgspec.UNSET
    assert msgspec.json.encode(record) == old
    named = msgspec.structs.replace(record, session="session-1")
    assert msgspec.json.decode(msgspec.json.encode(named), type=RequestRecord) == named
