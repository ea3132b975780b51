from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from drillbook import clock
from drillbook.errors import UsageError
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import Generator, GeneratorError
from drillbook.model.events import Line, LoadTicked, Noted
from drillbook.model.request import Outcome, RequestRecord


def config(server, folder: Path, **changes) -> GeneratorConfig:
    settings = {"rate": 40.0, "output_tokens": 4, "stall_timeout": 2.0, "timeout": 5.0} | changes
    return GeneratorConfig(writer="load", folder=str(folder), base_url=server.url, model="tiny", **settings)


def written(folder: Path) -> list[Line]:
    decode = msgspec.json.Decoder(Line).decode
    return [decode(line) for line in (folder / "requests-load.jsonl").read_bytes().splitlines()]


def records(lines: list[Line]) -> list[RequestRecord]:
    return [line.event for line in lines if isinstance(line.event, RequestRecord)]


async def until(generator: Generator, count: int) -> list[Line]:
    lines = []
    async for line in generator:
        lines.append(line)
        if len(records(lines)) >= count:
            break
    return lines


async def ended(pid: int, within: float = 5.0) -> bool:
    deadline = clock.monotonic() + within
    while clock.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        await asyncio.sleep(0.02)
    return False


async def test_the_parent_and_the_file_get_the_same_lines(server, tmp_path):
    async with Generator(config(server, tmp_path)) as generator:
        lines = await until(generator, 20)
        await generator.stop(drain=2)
        lines += [line async for line in generator]
    assert lines == written(tmp_path)
    assert [line.seq for line in lines] == list(range(len(lines)))
    assert isinstance(lines[0].event, Noted)
    assert {record.outcome for record in records(lines)} == {Outcome.OK}
    assert all(len(record.tokens) == 4 for record in records(lines))
    assert isinstance(lines[-1].event, LoadTicked)
    assert lines[-1].event.in_flight == 0
    assert lines[-1].event.sent == lines[-1].event.finished == len(records(lines))
    assert sum(line.event.tokens for line in lines if isinstance(line.event, LoadTicked)) == 4 * len(records(lines))


async def test_what_is_in_flight_at_the_end_is_unknown(server, tmp_path):
    async def endless(reply):
        await reply.tokens(1)
        await reply.forever()

    server.script = endless
    async with Generator(config(server, tmp_path, stall_timeout=60, timeout=60)) as generator:
        while len(server.seen) < 3:
            await asyncio.sleep(0.01)
        await generator.stop(drain=0.1)
        lines = [line async for line in generator]
    assert {record.outcome for record in records(lines)} == {Outcome.UNKNOWN}
    assert {record.error for record in records(lines)} == {"given up: the run ended"}
    assert len(records(lines)) >= 3


async def test_a_stop_lets_answers_end_within_the_drain(server, tmp_path):
    async def slow(reply):
        await reply.tokens(4, gap=0.1)
        await reply.finish()

    server.script = slow
    async with Generator(config(server, tmp_path)) as generator:
        while len(server.seen) < 3:
            await asyncio.sleep(0.01)
        await generator.stop(drain=5)
        lines = [line async for line in generator]
    assert {record.outcome for record in records(lines)} == {Outcome.OK}


async def test_a_generator_that_is_killed_is_told(server, tmp_path):
    async with Generator(config(server, tmp_path)) as generator:
        await until(generator, 30)
        os.kill(generator.pid, signal.SIGKILL)
        with pytest.raises(GeneratorError, match="killed by SIGKILL"):
            async for _ in generator:
                pass
        assert generator.failure
    assert len(records(written(tmp_path))) >= 5


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's memory with prlimit(2)")
async def test_a_generator_that_runs_out_of_memory_is_told(server, tmp_path):
    """Of answers that never end; it may hold what it holds already, and a megabyte more."""

    many = 2000 * b'data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'

    async def endless(reply):
        with contextlib.suppress(ConnectionError):
            while True:
                await reply.raw(many)

    async with Generator(config(server, tmp_path, output_tokens=1_000_000, timeout=2.0)) as generator:
        while len(server.seen) < 3:
            await asyncio.sleep(0.01)
        server.script = endless
        held = int(Path(f"/proc/{generator.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(generator.pid, resource.RLIMIT_AS, (held + (1 << 20),) * 2)
        with pytest.raises(GeneratorError, match="cannot go on: it died"):
            async for _ in generator:
                pass


async def test_a_record_that_is_lost_in_a_callback_ends_the_generator():
    """Asyncio alone would log it, and the generator would go on measuring without it."""
    program = (
        "import asyncio\nfrom drillbook.load import worker\nasync def work():\n"
        "    asyncio.get_running_loop().call_soon(lambda: 1 / 0)\n    await asyncio.sleep(60)\nworker.main(work)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    _, told = await process.communicate()
    assert process.returncode == 70
    assert b"ZeroDivisionError" in told


async def test_ctrl_c_in_the_terminal_does_not_end_it(server, tmp_path):
    async with Generator(config(server, tmp_path)) as generator:
        assert os.getpgid(generator.pid) != os.getpgid(0)
        os.kill(generator.pid, signal.SIGINT)
        os.kill(generator.pid, signal.SIGHUP)  # a closing terminal; its own parent is still there
        assert len(records(await until(generator, 20))) == 20


async def test_a_second_generator_may_not_write_to_the_first_ones_file(server, tmp_path):
    (tmp_path / "requests-load.jsonl").write_text("")
    with pytest.raises(GeneratorError, match="exit code 2") as caught:
        async with Generator(config(server, tmp_path)):
            pass
    assert "File exists" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": "chta"}, "there is no prompt set 'chta'"),
        ({"headers_from": {"Authorization": "NO_SUCH_VARIABLE"}}, "NO_SUCH_VARIABLE, which is not set"),
    ],
    ids=["prompt set", "header variable"],
)
async def test_what_is_missing_is_told_before_anything_starts(server, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        async with Generator(config(server, tmp_path, **changes)):
            pass
    assert not list(tmp_path.iterdir())


async def test_secret_headers_are_sent_and_stay_out_of_the_record(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED", "Bearer hush-hush")

    async def echo(reply):
        given = reply.request.headers["Authorization"]
        await reply.event({"error": {"message": f"no: {given}, that is {given.split()[1]}", "code": 401}})

    server.script = echo
    async with Generator(config(server, tmp_path, headers_from={"Authorization": "PLANTED"})) as generator:
        lines = await until(generator, 3)
    assert server.seen_headers[0]["authorization"] == "Bearer hush-hush"
    assert records(lines)[0].error == "no: ***, that is ***"
    assert b"hush" not in (tmp_path / "requests-load.jsonl").read_bytes()


PARENT = """
import asyncio, sys, msgspec
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import Generator
async def main():
    config = msgspec.json.decode(sys.argv[1], type=GeneratorConfig)
    async with Generator(config) as generator:
        print(generator.pid, flush=True)
        async for line in generator:
            pass
asyncio.run(main())
"""


async def start_parent(settings: GeneratorConfig) -> tuple[asyncio.subprocess.Process, int]:
    text = msgspec.json.encode(settings).decode()
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, text, stdout=asyncio.subprocess.PIPE)
    return parent, int(await parent.stdout.readline())


async def test_the_death_of_the_parent_ends_the_load(server, tmp_path):
    parent, pid = await start_parent(config(server, tmp_path))
    while len(server.seen) < 5:
        await asyncio.sleep(0.01)
    parent.kill()
    await parent.wait()
    assert await ended(pid)
    lines = written(tmp_path)
    assert isinstance(lines[-1].event, LoadTicked)  # it ended in order: all lines whole, the last tick written
    assert len(records(lines)) >= 5
    count = len(server.seen)
    await asyncio.sleep(0.1)
    assert len(server.seen) == count


async def test_a_parent_that_stands_still_does_not_slow_the_load(server, tmp_path):
    parent, pid = await start_parent(config(server, tmp_path, rate=100.0, output_tokens=100))
    os.kill(parent.pid, signal.SIGSTOP)
    while len(server.seen) < 150:  # 150 records of 100 tokens are more than a pipe holds
        await asyncio.sleep(0.01)
    parent.kill()
    await parent.wait()
    assert await ended(pid, within=60)
    ticks = [line.event for line in written(tmp_path) if isinstance(line.event, LoadTicked)]
    assert len(records(written(tmp_path))) >= 150
    assert max(tick.lag_p99 for tick in ticks) < 5  # it would stand for as long as its parent: for ever
