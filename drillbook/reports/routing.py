"""Where the routers sent requests: to whom how many, how long to engines that were struck, and to healed ones again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from drillbook.model.history import Span
from drillbook.probes import routing
from drillbook.probes.index import Indexed
from drillbook.probes.sends import sends, unseen
from drillbook.probes.struck import Struck, struck
from drillbook.reports.stretches import Stretch


class StruckFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One engine that the drill struck. Moments are seconds after time zero, or None where they were not seen."""

    engine: str
    struck_at: float
    sent: int
    """Requests that were sent to it while it was struck."""
    last_sent: float | None
    """The last of them."""
    healed_at: float | None
    heir: str
    """Who serves from then on: itself, or the pod in its place; empty where nobody does."""
    used_at: float | None
    """When that one had been sent a request and then brought answers to their end."""
    use_known: bool
    """Whether it told how many answers it brought to their end: only where the experiment asks for that."""


class SentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one engine was sent in each stretch, in the order of the stretches."""

    engine: str
    counts: tuple[int, ...]


class RoutingFacts(msgspec.Struct, frozen=True, kw_only=True):
    stretches: tuple[str, ...]
    engines: tuple[SentFacts, ...]
    struck: tuple[StruckFacts, ...]
    unseen: str
    """Why some of it is not known; empty where it was looked at throughout."""


def routing_facts(index: Indexed, stretches: Sequence[Stretch]) -> RoutingFacts | None:
    """None where no router told where it sends requests."""
    found = sends(index)
    if not found or index.injected is None:
        return None
    names = sorted({send.pod for send in found})
    counts = [Counter[str]() for _ in stretches]
    for send in found:
        for stretch, counter in zip(stretches, counts, strict=True):
            if index.relative(send.until) in stretch:
                counter[send.pod] += send.count
    return RoutingFacts(
        stretches=tuple(stretch.name for stretch in stretches),
        engines=tuple(SentFacts(engine=name, counts=tuple(each[name] for each in counts)) for name in names),
        struck=tuple(_struck(index, victim) for victim in struck(index)),
        unseen=unseen(index, Span(index.injected, index.watched_until)),
    )


def _struck(index: Indexed, victim: Struck) -> StruckFacts:
    mine = routing.to_struck(index, victim, index.watched_until)
    used = routing.used(index, victim)
    return StruckFacts(
        engine=victim.name,
        struck_at=index.relative(victim.since),
        sent=sum(send.count for send in mine),
        last_sent=index.relative(mine[-1].until) if mine else None,
        healed_at=None if math.isinf(victim.healed) else index.relative(victim.healed),
        heir=victim.heir,
        used_at=None if used is None else index.relative(used),
        use_known=routing.tells(index, victim.heir),
    )
