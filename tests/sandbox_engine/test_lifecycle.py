"""How ``sim`` starts, ends and behaves as a container's first process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine_observer import SIM, Server, Stream, samples, shape

from conftest import Launch

FORKED = """
import os, sys
from drillbook.sandbox.engine.main import main
before = set(sys.modules)
threads = len(os.listdir("/proc/self/task"))
child = os.fork()
if child == 0:
    os._exit(main(sys.argv[1:]) or (len(set(sys.modules) - before) and 99))
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(code, threads)
"""


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``sim`` to its end, which is expected to come at once."""
    return subprocess.run([*SIM, *arguments], env={**os.environ, **env}, capture_output=True, text=True, timeout=20)


def test_a_made_up_flag_is_refused_as_argparse_does() -> None:
    ended = run("--made-up-flag")
    assert ended.returncode == 2
    assert "unrecognized arguments: --made-up-flag" in ended.stderr


def test_a_cost_that_is_no_duration_is_refused_with_what_is_allowed() -> None:
    ended = run(SIM_ENGINE="step=fast")
    assert ended.returncode == 2
    assert "step='fast' is not a duration" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_kv_cache_too_small_for_one_request_ends_the_start_with_1() -> None:
    ended = run("--num-gpu-blocks-override", "3")
    assert ended.returncode == 1
    assert "KV cache holds 32 tokens" in ended.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--no-enable-chunked-prefill", "--max-num-batched-tokens", "512"), "a longer prompt would never run"),
        (("--max-num-batched-tokens", "128"), "must be at least max_num_seqs (256)"),
    ],
)
def test_a_step_that_could_never_hold_a_request_ends_the_start_with_1(words: tuple[str, ...], why: str) -> None:
    ended = run(*words)
    assert ended.returncode == 1
    assert why in ended.stdout


def test_a_port_in_use_ends_the_start_with_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run("--host", "127.0.0.1", "--port", str(taken.getsockname()[1]))
    assert ended.returncode == 1
    assert "Address already in use" in ended.stdout


async def test_real_flags_without_a_meaning_here_are_logged_and_ignored(launch: Launch) -> None:
    server = await launch("--enforce-eager", "--dtype", "bfloat16", "--max_num_seqs=4", "--no-enable-prefix-caching")
    log = server.log.read_text()
    for flag in ("--enforce-eager", "--dtype", "--enable-prefix-caching"):
        assert f"{flag} has no effect on a simulated engine" in log


async def test_the_port_is_refused_while_the_model_loads(launch: Launch) -> None:
    begun = time.monotonic()
    server = await launch(sim="load=1s")
    assert time.monotonic() - begun > 1
    assert [line for line in server.log.read_text().splitlines() if "GET /health" in line]


async def test_titles_are_those_of_vllm_with_two_workers(launch: Launch) -> None:
    server = await launch("-tp", "2")
    assert sorted(server.family.values()) == ["VLLM::EngineCore", "VLLM::Worker_TP0", "VLLM::Worker_TP1"]


async def test_an_idle_server_uses_next_to_no_processor_time(launch: Launch) -> None:
    server = await launch()

    def used() -> int:
        stats = [
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in (server.pid, *server.family)
        ]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats)

    before = used()
    await server.gone(within=2.0)
    assert (used() - before) / os.sysconf(
        "SC_CLK_TCK"
    ) < 0.4  # a loop that never waits takes it all; bench/ has the figure


async def test_it_runs_in_a_fork_of_a_warm_process_without_importing_more(launch: Launch) -> None:
    server = await launch("tiny", command=[sys.executable, "-c", FORKED], sim="teardown=0")
    api = next(pid for pid, title in server.family.items() if title.startswith("vllm serve"))
    assert await server.ask("/v1/completions", {"prompt": "Hello", "max_tokens": 2})
    assert await server.text("/metrics")
    os.kill(api, signal.SIGTERM)
    assert await server.gone(within=60) == 0
    assert server.log.read_text().splitlines()[-1] == "0 1"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="PID namespaces need root")
@pytest.mark.parametrize("harm", ["SIGTERM", "engine"])
async def test_as_the_first_process_of_a_container_it_ends_with_0_and_leaves_no_zombie(
    launch: Launch, harm: str
) -> None:
    command = ["unshare", "--pid", "--fork", "--kill-child", "--", *SIM]
    server = await launch(command=command, sim="watchdog=300ms teardown=0 leave=0")
    if harm == "engine":
        os.kill(server.find("VLLM::EngineCore"), signal.SIGKILL)
    else:
        os.kill(server.find("vllm serve"), signal.SIGTERM)
    assert await server.gone(within=60) == 0


async def test_a_drain_that_takes_too_long_is_cut_short(launch: Launch) -> None:
    server = await launch("--shutdown-timeout", "1", sim="seed=5 teardown=0")
    status, _, text = await terminated(server)
    assert status == 200
    assert json.loads(text)["choices"][0]["finish_reason"] == "abort"
    assert await server.gone(within=60) == 0


async def terminated(server: Server) -> tuple[int, object, str]:
    """Ask for a long answer, and end the server while it comes."""
    asking = asyncio.create_task(server.ask("/v1/completions", {"prompt": "Go", "max_tokens": 900, "ignore_eos": True}))
    while 'vllm:num_requests_running{engine="0",model_name="tiny"} 1.0' not in await server.text("/metrics"):
        await asyncio.sleep(0.02)
    os.kill(server.pid, signal.SIGTERM)
    return await asking


async def test_a_small_kv_cache_preempts_and_says_so_in_the_metrics(launch: Launch) -> None:
    server = await launch("--num-gpu-blocks-override", "65", sim="step=1ms")
    streams = [Stream() for _ in range(4)]
    await asyncio.gather(*(server.stream(one, 400, 20) for one in streams))
    assert all(sum(shape(event).startswith("token") for event in one.events) == 400 for one in streams)
    seen = samples(await server.text("/metrics"))
    labels = '{engine="0",model_name="tiny"}'
    assert seen[f"vllm:num_preemptions_total{labels}"] > 0
    assert seen[f"vllm:request_num_preemptions_sum{labels}"] == seen[f"vllm:num_preemptions_total{labels}"]
    assert seen[f"vllm:kv_cache_usage_perc{labels}"] == 0
