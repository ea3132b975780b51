"""A second load beside the first: sent by the same generator, and counted apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drillbook import clock
from drillbook.errors import UnsupportedError
from drillbook.load import prompts
from drillbook.load.config import GeneratorConfig
from drillbook.load.engines import generator
from drillbook.load.process import Generator
from drillbook.model.events import Line
from drillbook.model.experiment import LoadSpec
from drillbook.model.history import History
from drillbook.model.request import RequestRecord, Stream
from drillbook.probes.index import Indexed


def config(server, folder: Path) -> GeneratorConfig:
    spec = LoadSpec(rate="20/s", arrivals="constant", **{"output-tokens": 2})
    return GeneratorConfig.of(spec, folder=folder, base_url=server.url, model="tiny")


async def test_a_flood_goes_out_beside_the_load_and_ends_by_itself(server, tmp_path: Path) -> None:
    lines: list[Line] = []
    async with Generator(config(server, tmp_path)) as sending, asyncio.timeout(60):
        at = clock.monotonic() + 0.3
        sending.flood(at=at, until=at + 1.0, rate=40.0, prompts="long", times=2, output_tokens=3)
        async for line in sending:
            lines.append(line)
            if isinstance(line.event, RequestRecord) and line.event.scheduled > at + 1.5:
                break
        await sending.stop(5)
        lines += [line async for line in sending]
    records = [line.event for line in lines if isinstance(line.event, RequestRecord)]
    flood = [one for one in records if one.stream is Stream.FLOOD]
    assert len(flood) == sending.flooded == 40
    assert all(at - 1e-6 <= one.scheduled < at + 1.0 and one.wanted_tokens == 3 for one in flood)
    assert len({one.id for one in records}) == len(records)
    index = Indexed.of(History(lines, records))
    assert all(one.stream is Stream.LOAD for one in index.users)
    assert len(index.users) == len(records) - 40


def test_prompts_of_a_flood_are_long_and_none_begins_as_another() -> None:
    rows = prompts.read("long")
    made = prompts.distinct(rows, 3, iter(range(12)))
    first, second = next(made), next(made)
    assert len(first) > len(rows[0]) + len(rows[1]) + len(rows[2])
    assert (first.split("\n")[0], second.split("\n")[0]) == ("Case 1.", "Case 2.")
    assert rows[3] in second
    chat = prompts.distinct([[{"role": "user", "content": "Hello"}]], 1, [0])
    assert next(chat) == "Case 1.\n\nHello"


async def test_a_generator_that_sends_one_load_only_refuses(server, tmp_path: Path) -> None:
    spec = LoadSpec(rate="20/s", engine="locust", **{"output-tokens": 2})
    sending = generator(spec, GeneratorConfig.of(spec, folder=tmp_path, base_url=server.url, model="tiny"))
    with pytest.raises(UnsupportedError, match="one load only"):
        sending.flood(at=0.0, until=1.0, rate=1.0, prompts="long", times=1, output_tokens=1)
