"""Adversarial prompts a second: drillbook's sending against garak's own.  python bench/attack.py --garak-python PATH

The same probes, prompts and stub server in one run: garak by its own command line (serial, as it is by default, and
with ``--parallel_attempts 64``), and drillbook's attacker with garak's probes and detectors through the bridge. The
stub answers at once, then after 200 ms. Rates are requests over the time from the first that reached the stub to the
last that left it, as the stub saw them: no start-up counts for anyone. Server and clients share this machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from drillbook import clock
from drillbook.adversarial.config import AttackerConfig
from drillbook.adversarial.runner import Attacker
from drillbook.model.attack import AttackRecord
from drillbook.model.experiment import AttackSpec

PROBES = ["dan.DanInTheWild", "encoding.InjectBase64", "latentinjection.LatentInjectionTranslationEnFr"]
BODY = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "I would rather not say."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7},
    }
).encode()
MODELS = b'{"object":"list","data":[{"id":"stub","object":"model"}]}'
AIMS = {("garak, serial", 0.0): 12.0, ("garak, 64 parallel", 0.0): 100.0, ("garak, 64 parallel", 0.2): 6.0}


def framed(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


class Stub(asyncio.Protocol):
    """Answers each whole request after the delay; counts those that it answered, and when."""

    delay = 0.0
    first = last = 0.0
    count = 0

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            posted = self.buffer.startswith(b"POST /v1/chat")
            tally = self.buffer.startswith(b"GET /tally")
            self.buffer = self.buffer[end + 4 + length :]
            if tally:
                told = {"first": Stub.first, "last": Stub.last, "count": Stub.count}
                Stub.first = Stub.last = Stub.count = 0
                self.transport.write(framed(json.dumps(told).encode()))
            elif not posted:
                self.transport.write(framed(MODELS))
            else:
                Stub.first = Stub.first or clock.monotonic()
                if Stub.delay:
                    asyncio.get_running_loop().call_later(Stub.delay, self.answer)
                else:
                    self.answer()

    def answer(self):
        if not self.transport.is_closing():
            self.transport.write(framed(BODY))
            Stub.count += 1
            Stub.last = clock.monotonic()


async def serve(delay: float) -> None:
    Stub.delay = delay
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass
class Measured:
    count: int
    seconds: float
    wall: float

    @property
    def rate(self) -> float:
        return self.count / self.seconds


async def tally(port: int) -> dict[str, float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /tally HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    told = json.loads(await reader.readexactly(length))
    writer.close()
    return told


async def measured(port: int, work) -> Measured:
    await tally(port)
    begun = clock.monotonic()
    await work
    wall = clock.monotonic() - begun
    told = await tally(port)
    return Measured(int(told["count"]), told["last"] - told["first"], wall)


async def by_garak(python: str, port: int, folder: Path, cap: int, parallel: int) -> None:
    config = {
        "system": {"narrow_output": True} | ({"parallel_attempts": parallel} if parallel else {}),
        "run": {"generations": 1, "seed": 1234, "soft_probe_prompt_cap": cap,
                "spec": {"include": [f"probes.{probe}" for probe in PROBES]}},
        "plugins": {"target_type": "openai.OpenAICompatible", "target_name": "stub",
                    "generators": {"openai": {"OpenAICompatible": {"uri": f"http://127.0.0.1:{port}/v1"}}}},
        "reporting": {"report_dir": str(folder), "report_prefix": f"run-{parallel}-{port}"},
    }  # fmt: skip
    path = folder / f"garak-{parallel}.json"
    path.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        *(python, "-W", "ignore", "-m", "garak", "--config", str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "OPENAICOMPATIBLE_API_KEY": "x", "HF_HUB_OFFLINE": "1"},
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(out.decode()[-3000:])


async def by_drillbook(python: str, port: int, folder: Path, cap: int, concurrency: int) -> None:
    plan = folder / f"plan-{port}.yaml"
    plan.write_text(f"title: the same probes\nstream: false\nseed: 1234\nparts:\n  - {{garak: {PROBES}, cap: {cap}}}\n")
    config = AttackerConfig.attack(
        AttackSpec(plan=str(plan)),
        folder=folder,
        base_url=f"http://127.0.0.1:{port}",
        model="stub",
        writer=f"bench-{port}-{cap}-{clock.monotonic():.0f}",
        once=True,
        concurrency=concurrency,
        garak_python=python,
    )
    async with Attacker(config) as attacker:
        scored = [line.event async for line in attacker if isinstance(line.event, AttackRecord) and line.event.scores]
    expected = cap * len(PROBES)
    if len(scored) != expected:
        raise SystemExit(f"{len(scored)} of {expected} prompts were scored")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--garak-python", required=True, help="an interpreter that has garak (make garak-env)")
    parser.add_argument("--cap", type=int, default=256, help="prompts of each of the three probes")
    parser.add_argument("--delays", type=float, nargs="*", default=[0.0, 0.2], help="of the stub, in seconds")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="of drillbook's, of which the median counts")
    options = parser.parse_args()
    for delay in options.delays:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "serve", str(delay)), stdout=asyncio.subprocess.PIPE
        )
        try:
            with tempfile.TemporaryDirectory() as name:
                await compare(options, int(await process.stdout.readline()), Path(name), delay)
        finally:
            process.kill()
            await process.wait()


async def compare(options, port: int, folder: Path, delay: float) -> None:
    python, cap = options.garak_python, options.cap
    print(f"\nstub answers after {delay * 1e3:g} ms; {cap * len(PROBES)} prompts of {', '.join(PROBES)}\n")
    print(
        "| sent by | prompts | seconds | prompts/s | drillbook is | aim | whole program |\n"
        "|---|---:|---:|---:|---:|---:|---:|"
    )
    rounds = [
        await measured(port, by_drillbook(python, port, folder, cap, options.concurrency))
        for _ in range(options.rounds)
    ]
    ours = sorted(rounds, key=lambda one: one.rate)[len(rounds) // 2]
    row(f"drillbook, {options.concurrency} at once", ours, ours, None)
    if not delay:  # its serial rate on a slow stub is one over the delay; nobody need wait for that
        serial = await measured(port, by_garak(python, port, folder, cap, 0))
        row("garak, serial", serial, ours, AIMS.get(("garak, serial", delay)))
    parallel = await measured(port, by_garak(python, port, folder, cap, 64))
    row("garak, 64 parallel", parallel, ours, AIMS.get(("garak, 64 parallel", delay)))


def row(name: str, one: Measured, ours: Measured, aim: float | None) -> None:
    ratio = ours.rate / one.rate
    short = "" if aim is None or ratio >= aim else " (less than the aim on this machine)"
    told = "" if one is ours else f"{ratio:.1f}x{short}"
    wanted = f"{aim:g}x" if aim else ""
    print(
        f"| {name} | {one.count} | {one.seconds:.2f} | {one.rate:,.0f} | {told} | {wanted} | {one.wall:.1f} s |",
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[2])) if sys.argv[1:2] == ["serve"] else main())
