"""Panel: requests by what their users got, as stacked bars. Bad outcomes differ in hatching as well as in colour."""

from __future__ import annotations

import math

from markupsafe import Markup

from drillbook.model.request import Outcome
from drillbook.model.units import Dimension, show
from drillbook.reports.charts import svg
from drillbook.reports.charts.frame import Frame, Panel, ago, grid
from drillbook.reports.facts import Facts

HEIGHT = 92.0
ORDER = (Outcome.OK, Outcome.UNKNOWN, Outcome.SHED, Outcome.TRUNCATED, Outcome.HUNG, Outcome.FAILED)


def panel(facts: Facts, frame: Frame) -> Panel:
    series = facts.series
    most = max((sum(one.outcomes.values()) for one in series.bins), default=1)
    by = step(most)
    top = math.ceil(most / by) * by
    marks = [(HEIGHT * (1 - count / top), f"{count:,}") for count in range(0, top + 1, by)]
    parts = [grid(frame, marks)]
    for one in series.bins:
        left, width, below = frame.x(one.start), frame.x(one.start + series.width) - frame.x(one.start), 0
        for outcome in ORDER:
            count = one.outcomes.get(outcome.value, 0)
            if count:
                y, height = HEIGHT * (1 - (below + count) / top), HEIGHT * count / top
                words = f"{ago(one.start)}: {count} {outcome.value}"
                parts.append(_bar(frame, left, y, width, height, outcome, words))
                below += count
    legend = tuple(
        (f"swatch {outcome.value}", f"{outcome.value} {facts.harm.outcomes[outcome.value]:,}")
        for outcome in ORDER
        if facts.harm.outcomes[outcome.value]
    )
    return Panel(
        title="Requests",
        unit=f"per {show(series.width, Dimension.DURATION)}, by outcome",
        height=HEIGHT,
        drawing=svg.join(parts),
        legend=legend,
        hint=", ".join(words for _, words in legend),
    )


def _bar(frame: Frame, x: float, y: float, width: float, height: float, outcome: Outcome, words: str) -> Markup:
    gap = 0.6 if width > 3 else 0.0
    hatched = outcome in (Outcome.TRUNCATED, Outcome.HUNG, Outcome.SHED)
    fill = f"url(#{frame.name}-{outcome.value})" if hatched else None
    return svg.box(x + gap, y, width - 2 * gap, height, f"bar {outcome.value}", words, fill)


def step(most: int) -> int:
    """A round step that gives two to four lines."""
    power: int = 10 ** (len(str(most)) - 1)
    return next(one for one in (max(1, power // 2), power, 2 * power, 5 * power) if most / one <= 4)
