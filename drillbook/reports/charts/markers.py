"""The markers over a story: faults and clocks, each with a shape of its own, their labels kept apart."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from drillbook.model.units import Dimension, show
from drillbook.reports.charts import svg
from drillbook.reports.charts.frame import Frame, ago
from drillbook.reports.facts import Facts

ROW = 15.0
_CLOCKS = {"effect": "first harm", "detect": "detected", "mitigate": "mitigated", "recover": "recovered"}


@dataclass(frozen=True, slots=True)
class Marker:
    """``kind`` is ``fault``, ``undo`` or ``clock``."""

    at: float
    kind: str
    words: str


def markers(facts: Facts) -> list[Marker]:
    """All markers in the order of time; clocks that fall together share one."""
    found: dict[tuple[str, float], list[str]] = {}
    for fault in facts.faults:
        if fault.injected_at is not None:
            found.setdefault(("fault", round(fault.injected_at, 1)), []).append(fault.fault)
        if fault.undone_at is not None:
            found.setdefault(("undo", round(fault.undone_at, 1)), []).append(f"{fault.fault} undone")
    effect = next((one.at for one in facts.clocks.moments if one.name == "effect"), None)
    for clock in facts.clocks.moments:
        if clock.at is None or clock.name not in _CLOCKS:
            continue
        words = _CLOCKS[clock.name]
        if effect is not None and clock.at > effect:
            words += f" after {show(clock.at - effect, Dimension.DURATION)}"
        found.setdefault(("clock", round(clock.at, 1)), []).append(words)
    rows = [Marker(at=at, kind=kind, words=", ".join(words)) for (kind, at), words in found.items()]
    return sorted(rows, key=lambda marker: marker.at)


def draw(found: list[Marker], frame: Frame, height: float) -> tuple[Markup, float]:
    """The labels above and the lines through the panels; also the height that the labels take."""
    free: list[list[tuple[float, float]]] = []
    parts: list[tuple[Marker, int, float]] = []
    for marker in found:
        left = _label(marker, frame)
        span = (min(left, frame.x(marker.at)) - 8, max(left + svg.width_of(marker.words), frame.x(marker.at)) + 8)
        row = next((n for n, taken in enumerate(free) if all(span[1] < a or b < span[0] for a, b in taken)), len(free))
        if row == len(free):
            free.append([])
        free[row].append(span)
        parts.append((marker, row, left))
    top = len(free) * ROW
    return svg.join(_marker(marker, frame, row, left, top + height) for marker, row, left in parts), top


def _label(marker: Marker, frame: Frame) -> float:
    """Where a label begins: right of its marker, else left of it, else wherever it fits on the drawing."""
    x, width = frame.x(marker.at), svg.width_of(marker.words)
    if x + 9 + width <= frame.width:
        return x + 9
    return x - 9 - width if x - 9 - width >= 0 else max(0.0, frame.width - width)


def _marker(marker: Marker, frame: Frame, row: int, left: float, bottom: float) -> Markup:
    x, y = frame.x(marker.at), row * ROW + 6
    shape = {
        "fault": f"M{x - 5:.1f} {y - 5:.1f}h10l-5 9z",
        "undo": f"M{x - 5:.1f} {y + 4:.1f}h10l-5 -9z",
        "clock": f"M{x:.1f} {y - 5:.1f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
    }[marker.kind]
    ends = left < x and left + svg.width_of(marker.words) < x
    label = svg.text(marker.words, x - 9 if ends else left, y + 4, f"mark-label {marker.kind}", "end" if ends else None)
    return svg.tag(
        "g",
        svg.tag("title", f"{ago(marker.at)}: {marker.words}"),
        svg.line(x, y + 4, x, bottom, f"mark {marker.kind}"),
        svg.tag("path", d=shape, class_=f"glyph {marker.kind}"),
        label,
    )
