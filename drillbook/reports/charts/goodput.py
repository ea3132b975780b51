"""Panel: the share of requests that were good, bin by bin."""

from __future__ import annotations

from markupsafe import Markup

from drillbook.model.units import Dimension, show
from drillbook.reports.charts import svg
from drillbook.reports.charts.frame import Frame, Panel, ago, grid
from drillbook.reports.facts import Facts

HEIGHT = 92.0


def panel(facts: Facts, frame: Frame) -> Panel:
    width, bins = facts.series.width, [one for one in facts.series.bins if one.goodput is not None]
    marks = [(0.0, "100%"), (HEIGHT / 2, "50%"), (HEIGHT, "0%")]
    parts = [grid(frame, marks), _area(facts, frame)]
    for one in bins:
        left, right = frame.x(one.start), frame.x(one.start + width)
        share = one.goodput or 0.0
        words = f"{ago(one.start)}: {show(share, Dimension.SHARE)} of {sum(one.outcomes.values())} requests were good"
        top = HEIGHT * (1 - share)
        parts.append(svg.box(left, 0.0, right - left, HEIGHT, "hover", words))
        parts.append(svg.line(left, top, right, top, "goodput-edge"))
    limit = next(
        (f.limit for f in facts.findings if f.role == "steady-state" and f.expectation.startswith("goodput")), None
    )
    if limit is not None:
        y = HEIGHT * (1 - limit)
        parts.append(svg.line(frame.left, y, frame.edge, y, "limit"))
        parts.append(
            svg.text(f"steady state ≥ {show(limit, Dimension.SHARE)}", frame.edge - 4, y + 13, "limit-label", "end")
        )
    lowest = min(bins, key=lambda one: one.goodput or 0.0) if bins else None
    hint = f"lowest {show(lowest.goodput or 0.0, Dimension.SHARE)} at {ago(lowest.start)}" if lowest else "no requests"
    return Panel(title="Goodput", unit="share of good answers", height=HEIGHT, drawing=svg.join(parts), hint=hint)


def _area(facts: Facts, frame: Frame) -> Markup:
    """All bins as one shape: side by side, their edges would show."""
    path = []
    for one in facts.series.bins:
        if one.goodput is not None:
            left, right = frame.x(one.start), frame.x(one.start + facts.series.width)
            path.append(f"M{left:.1f} {HEIGHT:g}V{HEIGHT * (1 - one.goodput):.1f}H{right:.1f}V{HEIGHT:g}z")
    return svg.tag("path", d="".join(path), class_="goodput")
