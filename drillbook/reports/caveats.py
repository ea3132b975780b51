"""What this run cannot tell, said before anybody asks."""

from __future__ import annotations

from drillbook.model.events import LoadTicked
from drillbook.model.history import History
from drillbook.model.judgement import Clocks, Moment
from drillbook.model.request import Outcome
from drillbook.model.units import Dimension, show
from drillbook.model.verdict import RunStatus
from drillbook.probes.index import Indexed
from drillbook.reports.header import started

FEW_REQUESTS = 30
SHOWN = 10
"""Kinds of damage that are told one by one."""


def caveats(history: History, clocks: Clocks, status: RunStatus) -> tuple[str, ...]:
    """Sentences, the gravest first."""
    index = Indexed.of(history)
    found: list[str] = []
    if history.damage:
        more = f"; and {len(history.damage) - SHOWN} more" if len(history.damage) > SHOWN else ""
        found.append("The journal is damaged: " + "; ".join(history.damage[:SHOWN]) + f"{more}.")
    if status is not RunStatus.COMPLETED:
        found.append(f"The run was {status.value}: what would have come later was not seen.")
    if started(history).simulated:
        found.append(
            "Simulated target: the engines imitate vLLM's measured failure behaviour. Orders of events carry over to a "
            "real deployment; absolute latencies and start times do not."
        )
    found += _links(history)
    if history.attacks:
        packs = ", ".join(sorted({attack.pack for attack in history.attacks})[:SHOWN])
        found.append(
            f"Attacks are those of {packs}: a guardrail that stopped them may let others through, and a secret that is "
            "told by its meaning is not seen."
        )
    if (lag := _lag(history)) is not None:
        found.append(lag)
    known = [moment for moment in _moments(clocks) if moment.at is not None]
    if known:
        worst = max(known, key=lambda moment: moment.resolution)
        found.append(
            f"Clocks are read off requests, polls and watches; the coarsest, {worst.name}, may lie up to "
            f"{show(worst.resolution, Dimension.DURATION)} earlier than shown."
        )
    unknown = index.outcomes.count(Outcome.UNKNOWN)
    if unknown:
        found.append(f"{unknown} requests were still in flight when the run ended and count as neither good nor bad.")
    if len(index.users) < FEW_REQUESTS:
        found.append(f"Only {len(index.users)} requests: intervals are wide.")
    found.append("One run is one sample: a figure that matters deserves repeats.")
    return tuple(found)


def _links(history: History) -> list[str]:
    """Over what a fault on links was shown, and what that says of other transports."""
    over = (
        {str(f.options["transport"]) for f in history.plan.faults if "transport" in f.options}
        if history.plan
        else set()
    )
    told = {
        "Gloo over TCP": "NCCL's NET/Socket goes through the same queues of the kernel, but this run did not show it; "
        "NET/IB, NVLink and shared memory go past them.",
        "NCCL NET/Socket": "NET/IB, NVLink and shared memory go past the kernel's queues, and would not be hit.",
    }
    return [
        f"Shown on {each}. {told.get(each, 'Whether the ranks use this link was not known beforehand.')}"
        for each in sorted(over)
    ]


def _moments(clocks: Clocks) -> tuple[Moment, ...]:
    return (clocks.inject, clocks.effect, clocks.detect, clocks.mitigate, clocks.recover, clocks.revert)


def _lag(history: History) -> str | None:
    ticks = [event for _, event in history.events(LoadTicked)]
    if not ticks:
        return "The load generator left no record of its own lag."
    worst = max(tick.lag_p99 for tick in ticks)
    return (
        f"The load generator kept its schedule within {show(worst, Dimension.DURATION)} "
        "(99th percentile, worst second); latencies count from the schedule, so its lag is in them."
    )
