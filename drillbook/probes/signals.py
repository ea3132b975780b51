"""The health signals that an operator would have watched: which were green when, and which was the first to turn.

Signals are the polls of ``/health`` (of each engine and of the endpoint), the readiness of engine pods, alerts, and
custom probes that read 0 as long as all is well. What a pod says once the run's own rollout takes it away is none: that
is how every rollout goes, and the good ones page nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drillbook.model.events import ObjectChanged, Observed
from drillbook.model.history import Span
from drillbook.probes import alerts, revisions
from drillbook.probes.capacity import engine_pods, is_ready, short_of_capacity
from drillbook.probes.index import Indexed

EXPIRY_SECONDS = 5.0
"""A poll tells nothing any more after this long: polls come every second and take two at most."""


@dataclass(frozen=True)
class Turn:
    """A signal that turned from good to bad, monotonic seconds. It turned within ``resolution`` before ``at``."""

    at: float
    resolution: float
    source: str


def first_turn(index: Indexed, since: float) -> Turn | None:
    """The first signal that turned at or after ``since``."""
    return min([*_polls(index, since), *_pods(index, since)], key=lambda turn: turn.at, default=None)


def has_signals(index: Indexed) -> bool:
    """Whether any health signal was watched at all: without one, none can have been green."""
    return bool(index.observed.get("health")) or any(True for _ in engine_pods(index))


def green(index: Indexed) -> list[Span]:
    """The stretches in which every known health signal was green."""
    return index.once("green", lambda: _green(index))


def overlap(stretches: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """What lies in both."""
    found = [Span(max(one.start, other.start), min(one.end, other.end)) for one in stretches for other in list(others)]
    return [span for span in found if span.end > span.start]


def label(event: Observed) -> str:
    """What a reading was taken of, for people."""
    return event.labels.get("replica") or event.labels.get("endpoint") or event.labels.get("alertname") or ""


def is_signal(probe: str, series: Sequence[tuple[float, Observed]]) -> bool:
    """Metrics kept as evidence (their names have a colon) and queries have no good or bad."""
    return ":" not in probe and not (series and "promql" in series[0][1].labels)


def _polls(index: Indexed, since: float) -> Iterable[Turn]:
    left = revisions.taken_away(index)
    for probe, series in index.observed.items():
        if not is_signal(probe, series):
            continue
        good = 1.0 if probe == "health" else 0.0
        last: dict[str, tuple[float, bool]] = {}
        noisy = {label(event) for moment, event in series if moment < since and event.value != good}
        for moment, event in series:
            name = label(event)
            was = last.get(name)
            fine = event.value == good
            asked = moment - event.took
            counts = since <= moment < left.get(name, float("inf"))
            if counts and not fine and was is not None and was[1] and (probe == "health" or name not in noisy):
                # a custom probe that was never at rest before the fault has no resting value to turn from
                yield Turn(moment, moment - max(was[0], since), f"{probe} {name}".strip())
            last[name] = asked, fine


def _pods(index: Indexed, since: float) -> Iterable[Turn]:
    left = revisions.taken_away(index)
    ready: dict[str, bool] = {}
    restarts: dict[str, int] = {}
    for moment, event in engine_pods(index):
        count = int(event.summary.get("restarts") or 0)
        counts = since <= moment < left.get(event.name, float("inf"))
        if counts and ready.get(event.uid) and not is_ready(event):
            yield Turn(moment, 0.0, f"pod {event.name} {_why(event)}")
        elif counts and count > restarts.get(event.uid, count):
            yield Turn(moment, 0.0, f"pod {event.name} restarted")
        ready[event.uid], restarts[event.uid] = is_ready(event), count


def _why(event: ObjectChanged) -> str:
    if event.change == "deleted":
        return "was deleted"
    return "is being deleted" if event.summary.get("deleting") else "is not Ready"


def _green(index: Indexed) -> list[Span]:
    """Sweeps all signals: green is where at least one is known, and none is red."""
    left = revisions.taken_away(index)
    changes: list[tuple[float, str, bool | None]] = []
    health: dict[str, list[tuple[float, bool | None]]] = {}
    for moment, event in index.observed.get("health", ()):
        # who never answered is unknown, and holds up no green: headless ranks of an engine have no HTTP at all
        known = event.value is not None and moment < left.get(label(event), float("inf"))
        fine = event.value == 1.0 if known else None
        health.setdefault(f"health {label(event)}", []).append((moment, fine))
    for name, polls in health.items():
        for place, (moment, fine) in enumerate(polls):
            changes.append((moment, name, fine))
            following = polls[place + 1][0] if place + 1 < len(polls) else float("inf")
            if following - moment > EXPIRY_SECONDS:
                changes.append((moment + EXPIRY_SECONDS, name, None))
    for moment, pod in engine_pods(index):
        # a pod that is gone for good is no red signal any more; what should replace it is, through the capacity
        gone = pod.change == "deleted" or moment >= left.get(pod.name, float("inf"))
        changes.append((moment, f"pod {pod.uid}", None if gone else is_ready(pod)))
    short = short_of_capacity(index)
    changes += [(moment, "capacity", not missing) for moment, missing in zip(short.times, short.values, strict=True)]
    for name, alert in alerts.alerts(index).items():
        for span in alert.firing:
            changes += [(span.start, f"alert {name}", False), (span.end, f"alert {name}", None)]
    return _sweep(sorted(changes, key=lambda change: change[0]), index.end)


def _sweep(changes: list[tuple[float, str, bool | None]], end: float) -> list[Span]:
    state: dict[str, bool] = {}
    found: list[Span] = []
    since: float | None = None
    for moment, name, fine in changes:
        if fine is None:
            state.pop(name, None)
        else:
            state[name] = fine
        all_green = bool(state) and all(state.values())
        if all_green and since is None:
            since = moment
        elif not all_green and since is not None:
            found.append(Span(since, moment))
            since = None
    return found if since is None else [*found, Span(since, max(end, since))]
