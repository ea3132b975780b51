"""How fast can the load generator go and still keep its schedule?  python bench/load.py

A bare server streams 48 tokens to each request, one every 20 ms, from a single ticking loop as an engine would. The
rate of requests is doubled until the generator's own lag reaches 5 ms at the 99th percentile, then narrowed down.
Generator and server share this machine's cores: a generator alone would reach more.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from drillbook import clock
from drillbook.load import slis
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import Generator
from drillbook.load.slis import Latency
from drillbook.model.events import LoadTicked
from drillbook.model.request import Outcome, RequestRecord

TOKENS, GAP, BOUND = 48, 0.02, 0.005
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def framed(payload: bytes) -> bytes:
    data = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNK = framed(
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"tiny",'
    b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}'
)
LAST = framed(b'{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"length"}]}') + framed(b"[DONE]")


class Streaming(asyncio.Protocol):
    """Every ``GAP`` seconds a token for each open stream. Requests are small and come in one piece."""

    active: dict[Streaming, int] = {}

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if b'"model"' in data:
            self.active[self] = TOKENS
            self.transport.write(HEAD)

    def connection_lost(self, exc):
        self.active.pop(self, None)

    @classmethod
    async def tick(cls):
        due = clock.monotonic()
        while True:
            due += GAP
            await asyncio.sleep(max(0.0, due - clock.monotonic()))
            for stream, left in list(cls.active.items()):
                if left:
                    stream.transport.write(CHUNK)
                    cls.active[stream] = left - 1
                else:
                    stream.transport.write(LAST + b"0\r\n\r\n")
                    del cls.active[stream]


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Streaming, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await Streaming.tick()


@dataclass
class Round:
    rate: float
    lag_p99: float
    lag_max: float
    cpu: float
    records: list[RequestRecord]

    @property
    def held(self) -> bool:
        return self.lag_p99 < BOUND and all(record.outcome is Outcome.OK for record in self.records)

    def row(self) -> str:
        ttft = slis.samples(self.records, Latency.TTFT)
        itl = slis.samples(self.records, Latency.ITL)
        ok = slis.share(self.records, Outcome.OK)
        cells = [
            f"{self.rate:.0f}/s",
            f"{self.rate * TOKENS:,.0f}",
            f"{self.lag_p99 * 1e3:.2f} ms",
            f"{self.lag_max * 1e3:.1f} ms",
            f"{self.cpu:.0%}",
            f"{slis.quantile(ttft, 0.5) * 1e3:.1f} ms",
            f"{slis.quantile(ttft, 0.99) * 1e3:.1f} ms",
            f"{slis.quantile(itl, 0.99) * 1e3:.1f} ms",
            f"{ok.value:.1%}",
            "yes" if self.held else "no",
        ]
        return "| " + " | ".join(cells) + " |"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(url: str, rate: float, seconds: float) -> Round:
    with tempfile.TemporaryDirectory() as folder:
        config = GeneratorConfig(
            writer="bench",
            folder=folder,
            base_url=url,
            model="tiny",
            rate=rate,
            output_tokens=TOKENS,
            max_in_flight=60_000,
        )
        async with Generator(config) as generator:
            await asyncio.sleep(1.5)  # connections are made, streams overlap
            begun, used = clock.monotonic(), cpu_seconds(generator.pid)
            await asyncio.sleep(seconds)
            ended, used = clock.monotonic(), cpu_seconds(generator.pid) - used
            await generator.stop(drain=5)
            lines = [line async for line in generator]
    ticks = [line.event for line in lines if isinstance(line.event, LoadTicked) and begun + 1 <= line.mono <= ended]
    records = [line.event for line in lines if isinstance(line.event, RequestRecord)]
    within = [record for record in records if begun <= record.scheduled < ended]
    lags = sorted(record.sent - record.scheduled for record in within)
    worst = max(tick.lag_max for tick in ticks)
    p99 = max(slis.quantile(lags, 0.99), sorted(tick.lag_p99 for tick in ticks)[len(ticks) // 2])
    return Round(rate, p99, worst, used / (ended - begun), within)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="measured per rate")
    parser.add_argument("--rates", type=float, nargs="*", help="measure these rates instead of searching")
    options = parser.parse_args()
    server = await asyncio.create_subprocess_exec(sys.executable, __file__, "serve", stdout=asyncio.subprocess.PIPE)
    try:
        url = f"http://127.0.0.1:{int(await server.stdout.readline())}"
        print("| rate | tokens/s | lag p99 | lag max | generator CPU | TTFT p50 | TTFT p99 | ITL p99 | ok | held |")
        print("|---|---|---|---|---|---|---|---|---|---|")

        async def attempt(rate: float) -> bool:
            for _ in range(2):  # a neighbour's burst is not the generator's limit: it must fail twice
                found = await measure(url, rate, options.seconds)
                print(found.row(), flush=True)
                if found.held:
                    return True
            return False

        if options.rates:
            for rate in options.rates:
                await attempt(rate)
            return
        good, bad = 0.0, 6.0
        while await attempt(bad):
            good, bad = bad, bad * 2
        while bad - good > max(1.0, good * 0.1):
            middle = (good + bad) / 2
            if await attempt(middle):
                good = middle
            else:
                bad = middle
        print(f"\nHighest rate with a lag under {BOUND * 1e3:.0f} ms at p99: {good:.0f} requests/s of {TOKENS} tokens")
    finally:
        server.kill()
        await server.communicate()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(serve() if sys.argv[1:] == ["serve"] else main())
