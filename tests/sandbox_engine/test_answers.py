"""What a healthy ``sim`` answers, compared with recordings of real vLLM 0.32."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from engine_observer import SIM, Server, Stream, samples, shape
from exchanges import CHAT, TALK, TEXT, families, put

pytestmark = pytest.mark.asyncio(loop_scope="module")
LABELS = '{engine="0",model_name="tiny"}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    log = tmp_path_factory.mktemp("answers") / "sim.log"
    limits = ["--max-num-queued-reqs", "2", "--enable-request-id-headers"]
    server = Server([*SIM, *limits], log=log)
    await server.start(within=20)
    yield server
    await server.stop()


async def metric(server: Server, name: str) -> float:
    return samples(await server.text("/metrics"))[name]


async def until(server: Server, name: str, value: float) -> None:
    deadline = time.monotonic() + 60
    while (found := await metric(server, name)) != value:
        assert time.monotonic() < deadline, f"{name} is {found}, not {value}"
        await asyncio.sleep(0.02)


async def test_every_answer_has_the_form_of_vllms(server: Server, recorded: Path) -> None:
    assert await put(server) == json.loads((recorded / "answers.json").read_text())


async def test_every_series_of_vllm_is_there_with_its_type_labels_and_buckets(server: Server, recorded: Path) -> None:
    await server.text("/v1/models")  # series of HTTP come with the first request, whatever other tests asked
    real, ours = json.loads((recorded / "metrics.json").read_text()), families(await server.text("/metrics"))
    config = "vllm:cache_config_info"
    known, given = real.pop(config)["labels"][0], ours.pop(config)["labels"][0]
    assert given.items() <= known.items()
    assert ours == real


async def test_an_answer_of_48_tokens_takes_its_steps_time(server: Server) -> None:
    one = Stream()
    begun = time.monotonic()
    await server.stream(one, 48, 10)
    assert time.monotonic() - begun > 0.5
    assert [shape(event) for event in one.events] == ["role", *["token"] * 47, "token length", "done"]


@pytest.mark.figure
async def test_an_answer_of_48_tokens_comes_evenly_in_about_half_a_second(server: Server) -> None:
    one = Stream()
    begun = time.monotonic()
    await server.stream(one, 48, 10)
    assert time.monotonic() - begun < 1.5
    gaps = sorted(after - before for before, after in zip(one.times[1:], one.times[2:], strict=False))
    assert 0.011 < gaps[len(gaps) // 2] < 0.017


async def test_the_same_prompt_gets_the_same_words(server: Server) -> None:
    texts = set()
    for _ in range(2):
        _, _, text = await server.ask(CHAT, {"messages": TALK})
        answer = json.loads(text)
        texts.add(answer["choices"][0]["message"]["content"])
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert 24 <= answer["usage"]["completion_tokens"] <= 160
    assert len(texts) == 1


async def test_a_stop_string_ends_the_answer_before_it(server: Server) -> None:
    _, _, text = await server.ask(CHAT, {"messages": TALK})
    word = json.loads(text)["choices"][0]["message"]["content"].split()[7]
    _, _, text = await server.ask(CHAT, {"messages": TALK, "stop": [word]})
    choice = json.loads(text)["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["stop_reason"] == word
    assert word not in choice["message"]["content"]


async def test_min_tokens_and_ignore_eos_lengthen_an_answer(server: Server) -> None:
    async def length(**more: object) -> int:
        _, _, text = await server.ask(TEXT, {"prompt": "Go home", "max_tokens": 70} | more)
        return int(json.loads(text)["usage"]["completion_tokens"])

    assert await length() < 60
    assert await length(min_tokens=60) == 60
    assert await length(ignore_eos=True) == 70


async def test_a_client_that_leaves_is_counted_as_an_abort(server: Server) -> None:
    aborts = 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"}'
    before = await metric(server, aborts)
    body = {"messages": TALK, "max_tokens": 900, "ignore_eos": True}
    async with aiohttp.ClientSession() as session:
        async with session.post(server.url + CHAT, json=body | {"stream": True}) as answer:
            await answer.content.readline()
        with pytest.raises(TimeoutError):
            await session.post(server.url + CHAT, json=body, timeout=aiohttp.ClientTimeout(0.1))
    await until(server, aborts, before + 2)
    await until(server, f"vllm:num_requests_running{LABELS}", 0)


async def test_a_burst_beyond_the_queue_limit_gets_its_503_inside_a_200(server: Server) -> None:
    burst = [Stream() for _ in range(6)]
    await asyncio.gather(*(server.stream(one, 100, 10) for one in burst))
    refused = [one for one in burst if shape(one.events[-2]).startswith("error 503")]
    assert len(refused) == 4
    assert all(one.status == 200 and shape(one.events[-1]) == "done" for one in burst)
    assert await metric(server, 'vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_reqs"}') >= 4


async def test_tokens_are_counted_where_they_were_made(server: Server) -> None:
    names = [f"vllm:{one}{LABELS}" for one in ("generation_tokens_total", "iteration_tokens_total_sum")]
    before = [await metric(server, name) for name in names]
    _, _, text = await server.ask(CHAT, {"messages": TALK, "max_tokens": 30, "ignore_eos": True})
    prompt = json.loads(text)["usage"]["prompt_tokens"]
    made, steps = [await metric(server, name) - old for name, old in zip(names, before, strict=True)]
    assert made == 30
    assert steps == prompt + 29


async def test_the_log_tells_of_the_start_and_of_each_request(server: Server) -> None:
    log = server.log.read_text()
    assert "INFO:     Application startup complete." in log
    assert '"GET /health HTTP/1.1" 200 OK' in log
    assert "(EngineCore pid=" in log
