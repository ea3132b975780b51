"""A server that breaks and heals at known moments, as its users would have seen it: the truth to hold clocks against.

Requests come at random at a known rate; each answer is 10 tokens, the first after 5 ms and then one every 10 ms. All
moments are seconds after time zero; the injection is there, and the outage begins some time later.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import histories
from histories import Run

from drillbook.model.request import Outcome

TTFT, GAP, TOKENS = 0.005, 0.01, 10
STALL_TIMEOUT = 4.0
KINDS = ("refuses", "cuts and refuses", "fails in-band", "stalls and loses", "stalls and resumes", "loses one in three")


@dataclass(frozen=True)
class Outage:
    kind: str
    start: float
    end: float
    seed: int
    rate: float = 100.0


def token_times(at: float) -> list[float]:
    return [at + TTFT + GAP * place for place in range(TOKENS)]


def run(outage: Outage, *, until: float = 0.0, **experiment: Any) -> Run:
    """The run in which this outage happened; engine health is green all along."""
    rng = random.Random(outage.seed)
    end = until or outage.end + 15
    found = Run(
        **({"slo": {"ttft": "500ms", "e2e": "2s"}, "load": {"rate": f"{outage.rate:g}/s"}} | experiment)
    ).start()
    found.pods().inject().health(end=end)
    times, at = [], -5.0
    while at < end - 1:
        times.append(at)
        at += rng.expovariate(outage.rate)
    for count, at in enumerate(times):
        found.requests.append(histories.request(f"q{count}", at, lag=0.0, **_fate(outage, at, count)))
    return found.ticks(-10, end).end(end)


def _fate(outage: Outage, at: float, count: int) -> dict[str, Any]:
    times = token_times(at)
    if times[-1] < outage.start or at >= outage.end:
        return _answer(at, times)
    arrived = [time for time in times if time < outage.start]
    match outage.kind:
        case "refuses":
            return _answer(at, times) if at < outage.start else _broken(at, [], at + 0.002, Outcome.FAILED)
        case "cuts and refuses":
            outcome = Outcome.TRUNCATED if arrived else Outcome.FAILED
            return _broken(at, arrived, max(at + 0.002, outage.start), outcome)
        case "fails in-band":
            outcome = Outcome.TRUNCATED if arrived else Outcome.FAILED
            return _broken(at, arrived, max(at + 0.003, outage.start + 0.001), outcome, status=200)
        case "stalls and loses":
            last = max([at, *arrived])
            return _broken(at, arrived, last + STALL_TIMEOUT, Outcome.HUNG)
        case "stalls and resumes":
            rest = [max(time, outage.end) for time in times if time >= outage.start]
            return _answer(at, [*arrived, *rest])
        case _:
            if count % 3:
                return _answer(at, times)
            return _broken(at, arrived, max([at, *arrived]) + STALL_TIMEOUT, Outcome.HUNG)


def _answer(at: float, times: list[float]) -> dict[str, Any]:
    tokens = tuple(round((time - at) * 1e6) for time in times)
    return {"tokens": tokens, "took": times[-1] - at, "outcome": Outcome.OK}


def _broken(at: float, times: list[float], end: float, outcome: Outcome, status: int | None = 500) -> dict[str, Any]:
    tokens = tuple(round((time - at) * 1e6) for time in times)
    return {"tokens": tokens, "took": end - at, "outcome": outcome, "status": status}
