"""What happened to each pod, as bars: pending, starting, ready, terminating, failed."""

from __future__ import annotations

from typing import Any

import msgspec

from drillbook.model.events import ObjectChanged
from drillbook.model.history import History

MOST_BARS = 16


class PodSpan(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds after time zero. ``state`` is ``pending``, ``starting``, ``ready``, ``terminating``, ``failed`` or
    ``done``.
    """

    start: float
    end: float
    state: str


class PodBar(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    role: str
    node: str
    restarts: int
    spans: tuple[PodSpan, ...]

    @property
    def eventful(self) -> bool:
        return len(self.spans) > 1


class PodFacts(msgspec.Struct, frozen=True, kw_only=True):
    """``bars`` holds at most sixteen pods, those that changed first; ``quiet`` counts the others."""

    bars: tuple[PodBar, ...]
    quiet: int


def pods(history: History) -> PodFacts:
    end = history.relative(history.end)
    changes: dict[str, list[tuple[float, ObjectChanged]]] = {}
    for line, event in history.events(ObjectChanged):
        if event.kind == "Pod":
            changes.setdefault(event.uid or event.name, []).append((history.relative(line.mono), event))
    bars = sorted(
        (_bar(seen, end) for seen in changes.values()), key=lambda bar: (not bar.eventful, bar.role != "engine")
    )
    shown = bars[:MOST_BARS]
    return PodFacts(
        bars=tuple(sorted(shown, key=lambda bar: (bar.role, bar.spans[0].start if bar.spans else 0.0))),
        quiet=len(bars) - len(shown),
    )


def _bar(seen: list[tuple[float, ObjectChanged]], end: float) -> PodBar:
    spans: list[PodSpan] = []
    for index, (moment, event) in enumerate(seen):
        if event.change == "deleted":
            break
        until = seen[index + 1][0] if index + 1 < len(seen) else end
        state = state_of(event.summary)
        if spans and spans[-1].state == state:
            spans[-1] = msgspec.structs.replace(spans[-1], end=until)
        elif until > moment:
            spans.append(PodSpan(start=moment, end=until, state=state))
    last = seen[-1][1]
    node = next((str(event.summary["node"]) for _, event in reversed(seen) if event.summary.get("node")), "")
    return PodBar(
        name=last.name, role=last.role, node=node, restarts=int(last.summary.get("restarts") or 0), spans=tuple(spans)
    )


def state_of(summary: dict[str, Any]) -> str:
    if summary.get("deleting"):
        return "terminating"
    if summary.get("ready"):
        return "ready"
    return {"Pending": "pending", "Failed": "failed", "Succeeded": "done"}.get(str(summary.get("phase")), "starting")
