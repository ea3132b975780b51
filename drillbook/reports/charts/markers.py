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
    parts: list[tuple[Marker, float, int, bool]] = []
    for marker in found:
        x, width = frame.x(marker.at), svg.width_of(marker.words) + 16
        leftward = x + width > frame.edge
        span = (x - width, x + 4) if leftward else (x - 4, x + width)
        row = next((n for n, taken in enumerate(free) if all(span[1] < a or b < span[0] for a, b in taken)), len(free))
        if row == len(free):
            free.append([])
        free[row].append(span)
        parts.append((marker, x, row, leftward))
    top = len(free) * ROW
    return svg.join(_marker(marker, x, row, leftward, top + height) for marker, x, row, leftward in parts), top


def _marker(marker: Marker, x: float, row: int, leftward: bool, bottom: float) -> Markup:
    y = row * ROW + 6
    shape = {
        "fault": f"M{x - 5:.1f} {y - 5:.1f}h10l-5 9z",
        "undo": f"M{x - 5:.1f} {y + 4:.1f}h10l-5 -9z",
        "clock": f"M{x:.1f} {y - 5:.1f}l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
    }[marker.kind]
    hint = svg.tag("title", f"{ago(marker.at)}: {marker.words}")
    label = svg.text(
        marker.words, x - 9 if leftward else x + 9, y + 4, f"mark-label {marker.kind}", "end" if leftward else None
    )
    return svg.tag(
        "g",
        hint,
        svg.line(x, y + 4, x, bottom, f"mark {marker.kind}"),
        svg.tag("path", d=shape, class_=f"glyph {marker.kind}"),
        label,
    )
