"""How fast can the load generator go and still tell the truth?  python bench/load.py [--beside locust vllm]

A bare server streams 48 tokens to each request, one every 20 ms, from a single ticking loop as an engine would. The
rate of requests is doubled until the generator's own lag reaches 5 ms at the 99th percentile, then narrowed down.
Others do not tell their lag. So that all can be asked alike, the server notes how long each request waited for its
first token: a generator holds a rate where what it tells of that, at the 99th percentile, is within 5 ms of the
truth, all answers were whole, and at least nine tenths of the rate were really sent. Generator and server share this
machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drillbook import clock
from drillbook.load import slis
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import Generator
from drillbook.load.slis import Latency
from drillbook.model.events import LoadTicked
from drillbook.model.request import Outcome, RequestRecord
from drillbook.sandbox import tiny_model

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VLLM_BENCH_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""  # what `vllm bench serve` does; the command itself does not start from the wheel for CPU
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
    waits: list[float] = []

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data.startswith(b"GET /truth"):
            told = json.dumps(sorted(self.waits)).encode()
            self.waits.clear()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
        elif data.startswith((b"GET ", b"POST ")) and b"/chat/completions" not in data.partition(b"\r\n")[0]:
            # vLLM's asks for metrics, and for tokens
            self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif b'"model"' in data:
            self.active[self] = TOKENS
            self.since = clock.monotonic()
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
                    if left == TOKENS:
                        cls.waits.append(clock.monotonic() - stream.since)
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
    beyond: float
    """How much longer the first token took than the server knows, both at the 99th percentile."""

    @property
    def held(self) -> bool:
        fine = all(record.outcome is Outcome.OK for record in self.records)
        return fine and self.lag_p99 < BOUND and abs(self.beyond) < BOUND

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
            f"{self.beyond * 1e3:+.1f} ms",
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
            truth(url)
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
    told = slis.quantile(slis.samples(within, Latency.TTFT), 0.99) or math.inf
    return Round(rate, p99, worst, used / (ended - begun), within, told - (slis.quantile(truth(url), 0.99) or 0.0))


def truth(url: str) -> list[float]:
    """How long requests waited for their first token since the last asking, sorted; of all and not of some."""
    with urllib.request.urlopen(f"{url}/truth", timeout=10) as answer:
        return json.load(answer)


@dataclass
class Told:
    """What another generator tells of one rate."""

    count: int
    failed: int
    ttft_p99: float


def carried_out(command: list[str | Path], seconds: float, **env: str) -> bool:
    """Whether it came to its end in ten times its seconds and a minute; drowned in its own load, it may not.

    Locust ends with 1 where a request failed, which its own count tells.
    """
    try:
        done = subprocess.run(
            command, env=os.environ | env, capture_output=True, text=True, timeout=60 + 10 * seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return True


def locust(url: str, rate: float, seconds: float) -> Told:
    """Users who each send every two seconds, in a process of its own."""
    python = Path(os.environ.get("DRILLBOOK_LOCUST_PYTHON", ROOT / ".venv-locust" / "bin" / "python"))
    users = max(1, round(rate * 2))
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [python, "-m", "locust", "-f", HERE / "load_of_locust.py", "--headless", "--host", url]
        command += ["-u", str(users), "-r", str(users), "-t", f"{seconds + 3:g}s", "--stop-timeout", "3"]
        done = carried_out([*command, "--only-summary"], seconds, FOUND=str(found))
        if not done:
            return Told(0, round(rate * seconds), math.inf)
        waits = json.loads(found.read_text())
    return Told(len(waits["ttft"]), waits["failed"], slis.quantile(sorted(waits["ttft"]), 0.99) or math.inf)


def vllm(url: str, rate: float, seconds: float) -> Told:
    """``vllm bench serve``, by the interpreter that ``DRILLBOOK_VLLM_PYTHON`` names."""
    python = os.environ["DRILLBOOK_VLLM_PYTHON"]
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model.write(Path(folder) / "model")
        command = [python, "-c", VLLM_BENCH_SERVE, "--backend", "openai-chat"]
        command += ["--base-url", url, "--endpoint", "/v1/chat/completions", "--model", "tiny"]
        command += ["--tokenizer", str(model)]
        command += ["--dataset-name", "random", "--random-input-len", "16", "--random-output-len", str(TOKENS)]
        command += ["--num-prompts", str(round(rate * seconds)), "--request-rate", f"{rate:g}", "--ignore-eos"]
        command += ["--disable-tqdm", "--save-result", "--result-dir", folder, "--result-filename", "found.json"]
        command += ["--percentile-metrics", "ttft", "--metric-percentiles", "99"]
        if not carried_out(command, seconds):
            return Told(0, round(rate * seconds), math.inf)
        found = json.loads((Path(folder) / "found.json").read_text())
    return Told(found["completed"], round(rate * seconds) - found["completed"], found["p99_ttft_ms"] / 1e3)


OTHERS = {"locust": locust, "vllm": vllm}


def beside(name: str, url: str, seconds: float) -> float:
    """The highest rate that another generator holds."""

    def attempt(rate: float) -> bool:
        for _ in range(2):
            truth(url)
            told = OTHERS[name](url, rate, seconds)
            known = truth(url)
            beyond = told.ttft_p99 - (slis.quantile(known, 0.99) or 0.0)
            span = seconds if name == "vllm" else seconds + 3
            held = abs(beyond) < BOUND and not told.failed and told.count >= 0.9 * rate * span
            cells = (name, f"{rate:.0f}/s", f"{told.count:,} ok", f"{told.failed} failed", f"{beyond * 1e3:+.1f} ms")
            print("| " + " | ".join((*cells, "yes" if held else "no")) + " |", flush=True)
            if held:
                return True
        return False

    return search(attempt, 12.0)


def search(attempt: Callable[[float], bool], first: float) -> float:
    """The highest rate, to a fifth, that an attempt holds."""
    good, bad = 0.0, first
    while attempt(bad):
        good, bad = bad, bad * 2
    while bad - good > max(1.0, good * 0.2):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if attempt(middle) else (good, middle)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="measured per rate")
    parser.add_argument("--rates", type=float, nargs="*", help="measure these rates instead of searching")
    parser.add_argument(
        "--beside", nargs="*", choices=sorted(OTHERS), default=[], help="other generators to ask as well"
    )
    options = parser.parse_args()
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE)
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        print(
            "| rate | tokens/s | lag p99 | lag max | CPU | TTFT p50 | TTFT p99 | ITL p99 | beyond truth | ok | held |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")

        def attempt(rate: float) -> bool:
            for _ in range(2):  # a neighbour's burst is not the generator's limit: it must fail twice
                found = asyncio.run(measure(url, rate, options.seconds))
                print(found.row(), flush=True)
                if found.held:
                    return True
            return False

        if options.rates:
            for rate in options.rates:
                attempt(rate)
            return
        best = {"drillbook": search(attempt, 50.0)}
        if options.beside:
            print("\n| generator | rate | answers | failures | beyond truth | held |\n|---|---|---|---|---|---|")
        for name in options.beside:
            try:
                best[name] = beside(name, url, options.seconds)
            except (RuntimeError, OSError, KeyError) as error:  # what the others came to is told all the same
                print(f"{name} cannot be asked: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"\n| generator | highest rate of {TOKENS}-token streams | drillbook is |\n|---|---|---|")
        for name, rate in best.items():
            ratio = f"{best['drillbook'] / rate:.1f} times" if rate else "-"
            print(f"| {name} | {rate:.0f}/s | {ratio} |")
    finally:
        server.kill()
        server.communicate()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(serve()) if sys.argv[1:] == ["serve"] else main()
