"""Routing: whether a struck engine still gets requests, since when not any more, and when a healed one gets them again.

``/health`` cannot tell: a router goes by it, and so sends requests to an engine that hangs. Answers seldom say which
engine gave them. So it is read off the router's own count, and off the engines' for what they really brought to an end.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from drillbook.model.history import History, Span
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.probes.intervals import wilson
from drillbook.probes.names import FINISHED
from drillbook.probes.reading import Kind, Probe, Reading, missing
from drillbook.probes.sends import Send, sends, unseen
from drillbook.probes.struck import Struck, struck
from drillbook.probes.watched import Figure, Happened

CHANCE = 0.05
"""How likely a silence may be by chance that counts as the end of an engine's traffic."""


def _unknown(index: Indexed) -> str:
    if index.injected is None:
        return "no fault was injected"
    if not struck(index):
        return "no engine was struck"
    return unseen(index, Span(index.injected, index.watched_until))


def to_struck(index: Indexed, victim: Struck, until: float = math.inf) -> list[Send]:
    """What was sent to an engine while it was out of service, and surely not before."""
    end = min(victim.ended, until)
    return [
        send for send in sends(index) if send.pod == victim.name and victim.since <= send.since and send.until <= end
    ]


def _stops(index: Indexed, _: Span) -> Reading:
    """The slowest: from the blow to the last request that was sent."""
    found, why = 0.0, ""
    for victim in struck(index):
        mine = to_struck(index, victim, index.watched_until)
        last = mine[-1].until if mine else victim.since
        found = max(found, last - victim.since)
        why = why or _not_over(index, victim, last)
    names = tuple(victim.name for victim in struck(index))
    return Reading(found, samples=1, complete=not why, reason=why, at_least=bool(why), evidence=names)


def _not_over(index: Indexed, victim: Struck, last: float) -> str:
    """Why the silence since ``last`` may be chance: too little was sent to the others for this one to be missed."""
    before = [send for send in sends(index) if send.until <= victim.since]
    share = sum(send.count for send in before if send.pod == victim.name) / max(1, sum(send.count for send in before))
    if not share:
        return f"{victim.name} was sent nothing before it was struck either"
    end = min(victim.ended, index.watched_until)
    others = sum(
        send.count for send in sends(index) if send.since >= last and send.until <= end and send.pod != victim.name
    )
    if share < 1 and (1 - share) ** others > CHANCE:
        return f"{victim.name} was still sent requests, or too few went to the others since to tell"
    return "" if others else f"no other engine was sent anything after {victim.name} was struck"


def _to_dead(index: Indexed, window: Span) -> Reading:
    if why := unseen(index, window):
        return missing(why)
    found = [send for victim in struck(index) for send in to_struck(index, victim, window.end)]
    count = sum(send.count for send in found if send.since >= window.start)
    return Reading(count, samples=1, evidence=tuple(sorted({send.pod for send in found})))


def used_again(index: Indexed) -> float | None:
    """When the last of the healed engines was sent a request and then brought answers to their end; None: not all."""
    moments = [used(index, victim) for victim in struck(index)]
    return max((at for at in moments if at is not None), default=None) if None not in moments else None


def used(index: Indexed, victim: Struck) -> float | None:
    """When one healed engine had been sent a request and then brought answers to their end."""
    sent = next((send for send in sends(index) if send.pod == victim.heir and send.since >= victim.healed), None)
    if sent is None:
        return None
    ends = [
        (at, event.value)
        for at, event in index.observed.get(FINISHED, ())
        if event.labels.get("replica") == victim.heir
    ]
    pairs = itertools.pairwise((at, value) for at, value in ends if value is not None)
    return next((late for (early, had), (late, has) in pairs if early >= sent.until and has > had), None)


def tells(index: Indexed, engine: str) -> bool:
    """Whether an engine told how many answers it brought to their end."""
    return any(event.labels.get("replica") == engine for _, event in index.observed.get(FINISHED, ()))


def _why_unused(index: Indexed) -> str:
    for victim in struck(index):
        if math.isinf(victim.healed):
            return f"{victim.name} was not seen to be whole again, nor replaced"
        if not any(send.pod == victim.heir and send.since >= victim.healed for send in sends(index)):
            return f"nothing was sent to {victim.heir} after it was whole"
    return "requests were sent there, and no answer came to its end"


def _unknown_use(index: Indexed) -> str:
    why = _unknown(index)
    healed = [victim.heir for victim in struck(index) if not math.isinf(victim.healed)]
    untold = [name for name in healed if not tells(index, name)]
    return why or (f"the engine {untold[0]} did not tell how many answers it brought to their end" if untold else "")


def _returns(index: Indexed, _: Span) -> Reading:
    """The slowest: from being whole again to the first answers."""
    healed = [victim.healed for victim in struck(index)]
    if any(map(math.isinf, healed)):
        return missing(_why_unused(index))
    at = used_again(index)
    if at is not None:
        longest = max((used(index, victim) or at) - victim.healed for victim in struck(index))
        return Reading(max(0.0, longest), samples=1, evidence=tuple(victim.heir for victim in struck(index)))
    watched = max(0.0, index.end - max(healed))
    return Reading(watched, samples=1, complete=False, reason=_why_unused(index), at_least=True)


@dataclass(frozen=True)
class TrafficShare:
    """The struck engines' share of all requests that were sent in the window, before the blow too."""

    name: str = "traffic-share"
    help: str = "share of the requests that routers sent to the engines that the drill strikes"
    dimension: Dimension = Dimension.SHARE
    kind: Kind = Kind.WINDOW
    min_samples: int = 10

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if why := unseen(index, window):
            return missing(why)
        names = {victim.name for victim in struck(index)}
        if not names:
            return missing("no engine was struck")
        found = [send for send in sends(index) if window.start <= send.since and send.until <= window.end]
        total, mine = sum(send.count for send in found), sum(send.count for send in found if send.pod in names)
        if not total:
            return missing("no router sent anything then")
        reason = f"only {total} requests were sent" if total < self.min_samples else ""
        return Reading(mine / total, samples=total, complete=not reason, reason=reason, interval=wilson(mine, total))


PROBES: tuple[Probe, ...] = (
    Figure(
        "traffic-stops", "from the blow until the last request that a router sent to a struck engine", _stops, _unknown
    ),
    Figure(
        "sent-to-dead",
        "requests that routers sent to engines while these were struck",
        _to_dead,
        _unknown,
        Dimension.COUNT,
    ),
    TrafficShare(),
    Happened(
        "healed-replica-used",
        "every struck engine, or its replacement, is sent requests and serves",
        used_again,
        _unknown_use,
        _why_unused,
    ),
    Figure(
        "traffic-returns",
        "from being whole again, or replaced, to answers of the healed engine",
        _returns,
        _unknown_use,
    ),
)
SERIES: dict[str, tuple[str, ...]] = {probe.name: (FINISHED,) for probe in PROBES}
"""What of the engines' own account each probe needs, beside the routers'."""
