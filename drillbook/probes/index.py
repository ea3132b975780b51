"""A history with its requests put in order and counted once, so that a thousand windows read it in no time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate, compress
from typing import Any, TypeVar

from drillbook.load import slis
from drillbook.model import expectation, units
from drillbook.model.attack import AttackRecord
from drillbook.model.events import FaultState, Observed, Phase
from drillbook.model.expectation import ExpectationError
from drillbook.model.experiment import SloSpec
from drillbook.model.history import History, Span
from drillbook.model.request import Outcome, RequestRecord, Stream
from drillbook.model.units import Dimension

T = TypeVar("T")

DEFAULT_THRESHOLD = 0.95
"""Share of good requests that counts as served, where the steady state names none."""


class Indexed(History):
    """A history that nobody appends to any more.

    A request belongs to the moment it was scheduled at. One that was still in flight at the first injection belongs to
    the injection: what befell it then is the fault's doing, not the baseline's, and must not fall between the two.
    Live, where what is in flight is not known yet, requests belong to the moment they ended at.
    """

    _live = False

    @classmethod
    def of(cls, history: History, *, live: bool = False) -> Indexed:
        """The history itself where it is indexed already, in whatever way."""
        if isinstance(history, Indexed):
            return history
        index = cls(history.lines, history.requests, history.attacks, history.damage)
        index._live = live
        return index

    @cached_property
    def slo(self) -> SloSpec:
        written = self.started.experiment.get("slo") if self.started else None
        return SloSpec.model_validate(written or {})

    @cached_property
    def stall_timeout(self) -> float:
        """How long a user of this run waits without progress, in seconds."""
        written = (self.started.experiment.get("load") or {}).get("stall-timeout", "10s") if self.started else "10s"
        return units.parse_as(str(written), Dimension.DURATION)

    @cached_property
    def threshold(self) -> float:
        """The share of good requests that the steady state asks for."""
        for text in (self.started.experiment.get("steady-state") or ()) if self.started else ():
            try:
                wanted = expectation.parse(str(text), {"goodput": Dimension.SHARE})
            except ExpectationError:
                continue
            if wanted.value is not None and wanted.operator in (expectation.Operator.GE, expectation.Operator.GT):
                return wanted.value
        return DEFAULT_THRESHOLD

    @cached_property
    def injected(self) -> float | None:
        """The earliest moment at which a fault can have acted."""
        return self.fault_moment(FaultState.INJECTING)

    @cached_property
    def spans(self) -> dict[Phase, Span]:
        return self.phases()

    @cached_property
    def origin(self) -> float:
        return self.zero

    def relative(self, moment: float) -> float:
        return moment - self.origin

    @cached_property
    def watched_until(self) -> float:
        """The end of the observation, after which drillbook itself changes things: the beginning of undo."""
        return self.spans[Phase.UNDO].start if Phase.UNDO in self.spans else self.end

    @property
    def users(self) -> list[RequestRecord]:
        """The load's requests in the order of their moments."""
        return self._in_order[0]

    @property
    def moments(self) -> list[float]:
        return self._in_order[1]

    @cached_property
    def _in_order(self) -> tuple[list[RequestRecord], list[float]]:
        found = [request for request in self.requests if request.stream is Stream.LOAD]
        moments = self._moments(found)
        places = sorted(range(len(found)), key=moments.__getitem__)
        return [found[place] for place in places], [moments[place] for place in places]

    def moment(self, request: RequestRecord) -> float:
        """When a request counts, monotonic seconds."""
        return self._moments([request])[0]

    def _moments(self, requests: Sequence[RequestRecord | AttackRecord]) -> list[float]:
        if self._live:
            return [request.end for request in requests]
        injected = self.injected
        if injected is None:
            return [request.scheduled for request in requests]
        return [injected if one.scheduled < injected < one.end else one.scheduled for one in requests]

    def within(self, window: Span) -> tuple[int, int]:
        """The users' requests of a window, as a slice."""
        return bisect_left(self.moments, window.start), bisect_left(self.moments, window.end)

    @cached_property
    def attacks_in_order(self) -> list[AttackRecord]:
        """The adversarial prompts in the order of their moments."""
        moments = self._moments(self.attacks)
        return [self.attacks[place] for place in sorted(range(len(moments)), key=moments.__getitem__)]

    @cached_property
    def _attack_moments(self) -> list[float]:
        return self._moments(self.attacks_in_order)

    def attack_moment(self, record: AttackRecord) -> float:
        """When a prompt counts, monotonic seconds; by the same rule as a request."""
        return self._moments([record])[0]

    def attacks_of(self, window: Span) -> list[AttackRecord]:
        moments = self._attack_moments
        return self.attacks_in_order[bisect_left(moments, window.start) : bisect_left(moments, window.end)]

    def requests_of(self, window: Span) -> list[RequestRecord]:
        first, last = self.within(window)
        return self.users[first:last]

    @cached_property
    def waits(self) -> list[float | None]:
        """Seconds until each user's first token; infinite for one who hung before it, None for one who was told."""
        waits = [request.ttft for request in self.users]
        never = [place for place, wait in enumerate(waits) if wait is None]
        for place in never:
            if self.users[place].outcome is Outcome.HUNG:
                waits[place] = math.inf
        return waits

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What each user got."""
        return [request.outcome for request in self.users]

    @cached_property
    def good(self) -> list[bool]:
        """Which users were served within the SLO."""
        slo = self.slo
        if slo.itl is not None or slo.e2e is not None:
            return [slis.good(request, slo) for request in self.users]
        fine = [outcome is Outcome.OK for outcome in self.outcomes]
        bound = slo.ttft
        if bound is None:
            return fine
        both = zip(fine, self.waits, self.users, strict=True)
        return [ok and (slis.e2e(one) if wait is None else wait) <= bound for ok, wait, one in both]

    @cached_property
    def bad(self) -> list[bool]:
        """Which users were not served at all, or not to the end."""
        return [outcome is not Outcome.OK and outcome is not Outcome.UNKNOWN for outcome in self.outcomes]

    @cached_property
    def chunks(self) -> list[int]:
        """How many content chunks each user got."""
        return [request.chunks for request in self.users]

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}

    def once(self, key: str, compute: Callable[[], T]) -> T:
        """What ``compute`` gives, kept under ``key`` for the next reader of this history."""
        if key not in self._kept:
            self._kept[key] = compute()
        found: T = self._kept[key]
        return found

    def count(self, key: str, flags: Callable[[], list[bool]], window: Span) -> int:
        """How many requests of the window are flagged; each kind of flag is computed once, under its ``key``."""
        sums = self.once(f"sum of {key}", lambda: list(accumulate(flags(), initial=0)))
        first, last = self.within(window)
        return sums[last] - sums[first]

    def count_outcome(self, outcome: Outcome, window: Span) -> int:
        return self.count(outcome.value, lambda: [one is outcome for one in self.outcomes], window)

    def places(self, key: str, flags: Callable[[], list[bool]], window: Span) -> list[int]:
        """Which requests of the window are flagged, kept as ``count`` keeps their sums."""
        flagged = self.once(f"places of {key}", lambda: list(compress(range(len(self.users)), flags())))
        first, last = self.within(window)
        return flagged[bisect_left(flagged, first) : bisect_left(flagged, last)]

    @cached_property
    def observed(self) -> dict[str, list[tuple[float, Observed]]]:
        """All readings that were taken live, by probe."""
        found: dict[str, list[tuple[float, Observed]]] = {}
        for line, event in self.events(Observed):
            found.setdefault(event.probe, []).append((line.mono, event))
        return found
