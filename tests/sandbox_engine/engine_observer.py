"""Break one running server and write down everything a client, a probe and a process supervisor can see.

The same observer watches real vLLM and ``sim``, so that the recordings and the tests speak of the same things. Run by
hand it records real vLLM: ``python engine_observer.py OUTPUT.json SCENARIO -- SERVER COMMAND…``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

SIM = (sys.executable, "-m", "drillbook.sandbox.engine", "--model", "tiny", "--max-model-len", "1024")
PROMPT = [{"role": "user", "content": "Tell me about the sea, at length."}]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> dict[int, str]:
    """Every descendant's title by process id."""
    table: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                table[int(entry.name)] = int(stat.rpartition(")")[2].split()[1]), title
    found: dict[int, str] = {}
    wave = {pid}
    while wave:
        wave = {child for child, (parent, _) in table.items() if parent in wave}
        found.update({child: table[child][1] for child in wave})
    return found


@dataclass
class Stream:
    """One streamed answer: its status, its events with their times, how it ended."""

    status: int = 0
    events: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    ended: str = "open"
    ended_at: float = 0.0


@dataclass
class Server:
    """A server process under observation."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    log: Path = Path("/dev/null")
    port: int = 0
    process: asyncio.subprocess.Process | None = None
    exit: tuple[int, float] | None = None
    family: dict[int, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def launch(self) -> None:
        """Start the process, without waiting for it to be ready."""
        self.port = free_port()
        command = [*self.command, "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **self.env}, stdout=log, stderr=log, start_new_session=True
            )
        # Where the observer is killed, its end of this pipe closes, and all of them go: stopped ones too, which do not
        # see that their parent has gone.
        script = f"read line; kill -s KILL -- -{self.pid}"
        self._guard = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
        self._waiter = asyncio.create_task(self._wait())

    async def start(self, within: float = 120.0) -> None:
        """Start the process and wait until it is healthy."""
        await self.launch()
        deadline = time.monotonic() + within
        while await self.probe("/health") != 200:
            if self.exit or time.monotonic() > deadline:
                raise RuntimeError(f"not ready: exit {self.exit}\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.02)
        self.family = children(self.pid)

    async def _wait(self) -> None:
        assert self.process is not None
        code = await self.process.wait()
        self.exit = code, time.monotonic()

    def find(self, title: str) -> int:
        self.family = children(self.pid)
        return next(pid for pid, name in self.family.items() if name.startswith(title))

    async def probe(self, path: str, timeout: float = 10.0) -> int | str:
        """The status of a GET on a fresh connection, or why there is none."""
        connector = aiohttp.TCPConnector(force_close=True)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(timeout)) as session,
                session.get(self.url + path) as answer,
            ):
                await answer.read()
                return answer.status
        except TimeoutError:
            return "timeout"
        except aiohttp.ClientConnectorError:
            return "refused"
        except aiohttp.ClientError as error:
            return type(error).__name__

    async def text(self, path: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return await answer.text()

    async def ask(
        self, path: str, body: Any = None, *, timeout: float = 60.0, method: str = "POST", **headers: str
    ) -> tuple[int, Mapping[str, str], str]:
        """One request; status, headers and body of its answer. ``body``: JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(timeout)) as session,
            session.request(
                method, self.url + path, data=data if method == "POST" else None, headers=headers
            ) as answer,
        ):
            return answer.status, answer.headers, await answer.text()

    async def stream(self, into: Stream, tokens: int, timeout: float, path: str = "/v1/chat/completions") -> Stream:
        """Stream one answer into ``into`` until it ends, breaks, or ``timeout`` seconds are over."""
        body: dict[str, Any] = {"max_tokens": tokens, "stream": True, "ignore_eos": True}
        body |= {"prompt": "The sea"} if path == "/v1/completions" else {"messages": PROMPT}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(timeout)) as session,
                session.post(self.url + path, json=body) as answer,
            ):
                into.status = answer.status
                pending = b""
                async for chunk in answer.content.iter_any():
                    pending += chunk
                    *lines, pending = pending.split(b"\n\n")
                    for line in lines:
                        into.events.append(line.decode())
                        into.times.append(time.monotonic())
                into.ended = "end"
        except TimeoutError:
            into.ended = "hung"
        except aiohttp.ClientError as error:
            into.ended = type(error).__name__
        into.ended_at = time.monotonic()
        return into

    async def whole(self, tokens: int, timeout: float) -> dict[str, Any]:
        """One answer that is not streamed: its status and body, or why there is none."""
        try:
            status, _, text = await self.ask(
                "/v1/chat/completions", {"messages": PROMPT, "max_tokens": tokens, "ignore_eos": True}, timeout=timeout
            )
            return {"status": status, "body": text, "at": time.monotonic()}
        except TimeoutError:
            return {"status": "hung", "at": time.monotonic()}
        except aiohttp.ClientError as error:
            return {"status": type(error).__name__, "at": time.monotonic()}

    async def gone(self, within: float) -> int | None:
        """The exit code once the process has gone, None if it still lives after ``within`` seconds."""
        await asyncio.wait([self._waiter], timeout=within)
        return self.exit[0] if self.exit else None

    async def stop(self) -> None:
        """Kill what is left of the server."""
        if self.process is None:
            return
        family = {self.pid: "", **children(self.pid)} if self.exit is None else {}
        for pid in [*family, *(pid for pid in self.family if _is_engine(pid))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._waiter
        with self._guard as guard:
            guard.kill()


def _is_engine(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"VLLM::")
    return False


def shape(event: str) -> str:
    """What kind of event a line of a stream is."""
    data = event.removeprefix("data: ")
    if data == "[DONE]":
        return "done"
    parsed = json.loads(data)
    if "error" in parsed:
        return f"error {parsed['error']['code']} {parsed['error']['type']}"
    if not parsed["choices"]:
        return "usage"
    choice = parsed["choices"][0]
    if choice.get("delta", {}).get("role"):
        return "role"
    return f"token {choice['finish_reason']}" if choice["finish_reason"] else "token"


def squeeze(events: Sequence[str]) -> list[str]:
    """The shapes of a stream's events, runs of the same shape once."""
    shapes = [shape(event) for event in events]
    return [now for before, now in zip(["", *shapes], shapes, strict=False) if now != before]


def samples(metrics: str) -> dict[str, float]:
    """Prometheus text as values by series."""
    rows = (line.rpartition(" ") for line in metrics.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


Harm = Callable[[Server], Callable[[], None]]
"""Given a server that runs, make ready to do the harm."""


async def observe(
    server: Server,
    harm: Harm,
    *,
    streams: int = 3,
    whole: bool = True,
    tokens: int = 900,
    watch: float = 20.0,
    patience: float = 5.0,
    late: bool = False,
) -> dict[str, Any]:
    """Run traffic, do ``harm``, watch for ``watch`` seconds. Times are seconds since the harm.

    Clients wait ``patience`` seconds longer. ``late``: also ask for a new answer half a second after the harm.
    """
    strike = harm(server)
    running = [Stream() for _ in range(streams)]
    tasks = [asyncio.create_task(server.stream(one, tokens, watch + patience)) for one in running]
    answer = asyncio.create_task(server.whole(tokens, watch + patience)) if whole else None
    while any(len(one.events) < 5 for one in running):
        await asyncio.sleep(0.005)
    start = time.monotonic()
    strike()
    health: list[tuple[float, int | str]] = []
    seen: dict[str, Any] = {}

    async def poll() -> None:
        while time.monotonic() < start + watch:
            asked = time.monotonic()
            status = await server.probe("/health")
            if not health or health[-1][1] != status:
                health.append((round(asked - start, 3), status))
            if server.exit and status == "refused":
                return
            await asyncio.sleep(0.02)

    async def sample() -> None:
        await asyncio.sleep(0.5)
        seen["models"] = await server.probe("/v1/models")
        with contextlib.suppress(aiohttp.ClientError):
            first = samples(await server.text("/metrics"))
            await asyncio.sleep(1.0)
            second = samples(await server.text("/metrics"))
            watched = re.compile(
                r"vllm:(num_requests_(running|waiting)\{|iteration_tokens_total_count|request_success)"
            )
            seen["metrics"] = {
                re.sub(r'model_name="[^"]*"', 'model_name="tiny"', name): [first[name], second[name]]
                for name in second
                if watched.match(name) and "_created" not in name
            }

    async def ask_late() -> None:
        await asyncio.sleep(0.5)
        asked = time.monotonic()
        seen["late whole"] = await server.whole(5, 5)
        seen["late whole"]["took"] = round(time.monotonic() - asked, 3)
        one = await server.stream(Stream(), 5, 5)
        seen["late stream"] = {"status": one.status, "ended": one.ended, "events": one.events}

    await asyncio.gather(poll(), sample(), *([ask_late()] if late else []))
    await asyncio.gather(*tasks)
    return {
        "titles": sorted({title.split(" ")[0] for title in server.family.values() if title.startswith("VLLM")}),
        "health": health,
        **seen,
        "streams": [
            {
                "status": one.status,
                "shape": squeeze(one.events),
                "last": [event for event in one.events if shape(event).startswith(("error", "done"))],
                "ended": one.ended,
                "ended at": round(one.ended_at - start, 3),
                "last event at": round(one.times[-1] - start, 3),
            }
            for one in running
        ],
        "whole": {key: round(value - start, 3) if key == "at" else value for key, value in (await answer).items()}
        if answer
        else None,
        "exit": [server.exit[0], round(server.exit[1] - start, 3)] if server.exit else None,
        "left behind": sorted(title for pid, title in server.family.items() if _is_engine(pid)) if server.exit else [],
    }


def send(number: int, title: str = "") -> Harm:
    """Harm that signals the process whose title starts so (none: the API server)."""

    def aim(server: Server) -> Callable[[], None]:
        pid = server.find(title) if title else server.pid  # found beforehand: on a busy machine it takes a while
        return lambda: os.kill(pid, number)

    return aim


async def main(output: str, scenario: str, command: Sequence[str]) -> None:
    """Record one scenario: ``SIGNAL/TITLE/SECONDS[/late][/streams-only][/idle]``, with the environment it runs in."""
    number, title, seconds, *options = scenario.split("/")
    server = Server(command, log=Path(output).with_suffix(".log"))
    await server.start()
    try:
        await asyncio.sleep(1)
        seen = await observe(
            server,
            send(getattr(signal, number), title),
            watch=float(seconds),
            late="late" in options,
            whole="streams-only" not in options and "idle" not in options,
            streams=0 if "idle" in options else 3,
        )
    finally:
        await server.stop()
    Path(output).write_text(json.dumps(seen, indent=1) + "\n")


if __name__ == "__main__":
    cut = sys.argv.index("--")
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[cut + 1 :]))
