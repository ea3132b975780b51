"""How long does it take to judge and to report a run with a million requests?  python bench/journal.py

Writes the journal of such a run, line for line as a generator writes it: an outage takes a tenth of the run, and
harms two users of three. Then ``drillbook check`` and ``drillbook report`` read it, each as a program of its own,
whose time, processor time and peak memory are taken from outside.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from histories import BASELINE, WALL, ZERO, Run

from drillbook.model.events import AnyEvent, Line, LoadTicked
from drillbook.model.request import Outcome, RequestRecord, Stream

OUTAGE = 0.1
"""Share of the run."""
TTFT, GAP, PATTERNS = 0.05, 0.02, 5000
_encode = msgspec.json.Encoder().encode


def line(at: float, event: AnyEvent, writer: str, seq: int) -> bytes:
    """One line of a journal, ``at`` seconds after time zero."""
    told = Line(writer=writer, seq=seq, boot="bench", mono=ZERO + at, wall=WALL + at, event=event)
    return _encode(told) + b"\n"


@dataclass
class Journal:
    """A run of ``count`` requests at ``rate`` a second, each with ``tokens`` tokens."""

    count: int
    rate: float
    tokens: int
    seed: int = 1

    def write(self, folder: Path) -> int:
        """Write it into a folder, and give its size in bytes."""
        length = self.count / self.rate
        run = Run(
            **{
                "load": {"rate": f"{self.rate:g}/s", "output-tokens": self.tokens},
                "steady-state": ["goodput >= 95%", "ttft.p95 < 800ms"],
                "slo": {"ttft": "500ms"},
                "expect": [
                    "recovered within 10m of inject",
                    "eventually goodput >= 99%",
                    "ttft.p99 < 1s during settle",
                ],
            }
        )
        run.start().pods().inject().end(length - BASELINE - 60, settle=50)
        for writer in ("runner", "observer"):
            name = "journal.jsonl" if writer == "runner" else "observations.jsonl"
            mine = [one for one in run.lines if one.writer == writer]
            rows = [line(one.mono - ZERO, one.event, writer, seq) for seq, one in enumerate(mine)]
            (folder / name).write_bytes(b"".join(rows))
        with (folder / "requests-load.jsonl").open("wb") as file:
            file.writelines(self._requests(-BASELINE))
        return sum(path.stat().st_size for path in folder.iterdir())

    def _requests(self, start: float):
        chance = random.Random(self.seed)
        patterns = [self._token_times(chance) for _ in range(PATTERNS)]
        length, seq, second = self.count / self.rate, 0, start
        begin, end = 2.0, 2.0 + length * OUTAGE
        for number in range(self.count):
            at = start + (number + chance.random()) / self.rate
            while second < at:
                tick = LoadTicked(
                    sent=number,
                    finished=number,
                    in_flight=9,
                    lag_p99=0.001,
                    lag_max=0.002,
                    oldest=1.0,
                    tokens=self.tokens,
                )
                yield line(second, tick, "load", seq)
                seq, second = seq + 1, second + 1
            tokens = chance.choice(patterns)
            outcome = Outcome.OK
            if begin <= at < end:
                outcome, tokens = chance.choice(
                    ((Outcome.HUNG, ()), (Outcome.TRUNCATED, tokens[: self.tokens // 2]), (Outcome.OK, tokens))
                )
            sent = ZERO + at + chance.random() * 0.002
            took = 10.0 if outcome is Outcome.HUNG else tokens[-1] / 1e6 + 0.0003
            record = RequestRecord(
                id=f"load-{number}",
                stream=Stream.LOAD,
                scheduled=ZERO + at,
                sent=sent,
                first_byte=sent + tokens[0] / 1e6 - 0.0002 if tokens else None,
                tokens=tokens,
                end=sent + took,
                outcome=outcome,
                status=200 if tokens else None,
                error="" if outcome is Outcome.OK else "Internal server error",
                finish_reason="length" if outcome is Outcome.OK else None,
                wanted_tokens=self.tokens,
                prompt_tokens=chance.randrange(20, 200),
            )
            yield line(at + took, record, "load", seq)
            seq += 1

    def _token_times(self, chance: random.Random) -> tuple[int, ...]:
        at, found = TTFT * chance.uniform(0.8, 2.0), []
        for _ in range(self.tokens):
            found.append(round(at * 1e6))
            at += GAP * chance.uniform(0.9, 1.3)
        return tuple(found)


@dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float
    memory: int
    code: int

    def row(self, what: str) -> str:
        return f"| {what} | {self.wall:.1f} s | {self.cpu:.1f} s | {self.memory / 1024:,.0f} MB | {self.code} |"


def program(*arguments: str) -> Cost:
    """Run drillbook with these arguments, from outside."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "drillbook", *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss, os.waitstatus_to_exitcode(status))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second of the run")
    parser.add_argument("--tokens", type=int, nargs="*", default=[48, 8], help="tokens of each answer")
    parser.add_argument("--keep", type=Path, help="leave the run folder there")
    options = parser.parse_args()
    print("| what | time | processor | memory | exit |\n|---|---|---|---|---|")
    for tokens in options.tokens:
        folder = Path(tempfile.mkdtemp(prefix="drillbook-bench-"))
        try:
            size = Journal(options.requests, options.rate, tokens).write(folder)
            print(f"| {options.requests:,} requests of {tokens} tokens: {size / 1e6:,.0f} MB of journal | | | | |")
            print(program("check", str(folder)).row("`check`"), flush=True)
            print(program("report", str(folder)).row("`report`"), flush=True)
            page = (folder / "report.html").stat().st_size
            print(f"| `report.html`: {page / 1e6:.2f} MB | | | | |", flush=True)
            if options.keep:
                shutil.copytree(folder, options.keep / str(tokens), dirs_exist_ok=True)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
