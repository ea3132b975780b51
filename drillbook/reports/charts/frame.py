"""The one time axis that all panels share, and the ticks on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from drillbook.reports.charts import svg

_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where time lies on the drawing. ``compact`` puts labels above the plots: for telephones."""

    start: float
    end: float
    width: float
    left: float
    right: float
    compact: bool
    name: str
    """Prefix of the ids in this drawing: two drawings stand in one page."""

    @property
    def edge(self) -> float:
        """The right end of the plots."""
        return self.width - self.right

    def x(self, moment: float) -> float:
        """Pixels of a moment, kept within the plot."""
        share = (moment - self.start) / (self.end - self.start)
        return self.left + min(1.0, max(0.0, share)) * (self.edge - self.left)

    def ticks(self) -> list[float]:
        most = 5 if self.compact else 11
        span = self.end - self.start
        step = next((step for step in _STEPS if span / step <= most), span / most)
        first = math.ceil(self.start / step)
        return [number * step for number in range(first, math.floor(self.end / step) + 1)]


def wide(start: float, end: float) -> Frame:
    return Frame(start=start, end=end, width=1080, left=172, right=22, compact=False, name="wide")


def narrow(start: float, end: float) -> Frame:
    return Frame(start=start, end=end, width=358, left=46, right=14, compact=True, name="narrow")


def ago(seconds: float) -> str:
    """``-15 s``, ``0``, ``+1:30``: a moment against time zero."""
    if abs(seconds) < 1e-9:
        return "0"
    sign, size = ("\u2212" if seconds < 0 else "+"), abs(seconds)
    if size < 100:
        return f"{sign}{f'{size:.1f}'.removesuffix('.0')} s"
    minutes, rest = divmod(round(size), 60)
    return f"{sign}{minutes}:{rest:02}" if minutes < 60 else f"{sign}{minutes // 60}:{minutes % 60:02} h"


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawn panel: its plot's height and what is in it, with y from 0 at the top of the plot."""

    title: str
    unit: str
    height: float
    drawing: Markup
    legend: tuple[tuple[str, str], ...] = ()
    """Class and words of each colour."""
    hint: str = ""
    """What the panel shows, for those who cannot see it."""


def grid(frame: Frame, marks: list[tuple[float, str]]) -> Markup:
    """Horizontal lines with their labels; ``marks`` are y and words."""
    return svg.join(
        part
        for y, words in marks
        for part in (
            svg.line(frame.left, y, frame.edge, y, "grid"),
            svg.text(words, frame.left - 6, y + 3.5, "tick", "end"),
        )
    )
