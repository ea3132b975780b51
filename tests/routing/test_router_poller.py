"""The router's own count is read over real HTTP; a router that has none says so instead of nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from drillbook.model.events import AnyEvent, Observed
from drillbook.probes.collectors import engines, routers
from drillbook.probes.collectors.routers import RouterPoller
from drillbook.probes.names import CACHE_USE, FINISHED, PREEMPTIONS, SENT

FRESH = """# TYPE vllm_router_active_workers gauge
vllm_router_active_workers 2
"""
METRICS = (
    FRESH
    + """# TYPE vllm_router_policy_decisions_total counter
vllm_router_policy_decisions_total{policy="round_robin",worker="http://10.208.0.4:8000"} 17
vllm_router_policy_decisions_total{policy="round_robin",worker="http://10.208.0.5:8000"} 11
vllm_router_policy_decisions_total{policy="cache_aware",worker="http://10.208.0.5:8000@1"} 2
"""
)
ENGINE = """vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 4.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 8.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 5.0
vllm:num_preemptions_total{engine="0",model_name="m"} 3.0
vllm:num_preemptions_total{engine="1",model_name="m"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
"""


@asynccontextmanager
async def saying(text: str) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=text)

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def first_look(url: str) -> Observed:
    seen: asyncio.Queue[AnyEvent] = asyncio.Queue()
    looking = asyncio.create_task(RouterPoller(lambda: {"r0": url}, seen.put_nowait).run())
    async with asyncio.timeout(30):
        found = await seen.get()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert isinstance(found, Observed)
    return found


async def test_each_engine_has_its_count_under_its_address() -> None:
    async with saying(METRICS) as url:
        found = await first_look(url)
    assert (found.probe, found.value, found.error) == (SENT, 30.0, "")
    assert found.labels == {"router": "r0", "10.208.0.4": "17", "10.208.0.5": "13"}


async def test_a_router_before_its_first_request_has_sent_nothing() -> None:
    async with saying(FRESH) as url:
        found = await first_look(url)
    assert (found.value, found.error) == (0.0, "")


async def test_another_router_does_not_tell() -> None:
    async with saying("vllm:current_qps 3\n") as url:
        found = await first_look(url)
    assert found.value is None
    assert routers.OTHER in found.error


async def test_a_router_that_does_not_answer_is_told_as_such() -> None:
    found = await first_look("http://127.0.0.1:9")
    assert found.value is None
    assert "http://127.0.0.1:9/metrics" in found.error


def test_answers_are_counted_that_ended_well_and_ranks_are_put_together() -> None:
    found = engines.parse_metrics(ENGINE, (FINISHED, PREEMPTIONS, CACHE_USE))
    assert found == {FINISHED: 12.0, PREEMPTIONS: 4.0, CACHE_USE: 0.75}


def test_addresses_come_in_several_forms() -> None:
    forms = ("http://10.1.0.5:8000", "http://10.1.0.5:8000@1", "10.1.0.5:8000")
    assert {routers.address(form) for form in forms} == {"10.1.0.5"}
    assert routers.address("http://[fd00::5]:8000") == "fd00::5"
