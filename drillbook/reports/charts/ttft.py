"""Panel: time to first token, a dot a request (a band of quantiles where they are too many), on a log scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from markupsafe import Markup

from drillbook.model.request import Outcome
from drillbook.reports.charts import svg
from drillbook.reports.charts.frame import Frame, Panel, ago, grid
from drillbook.reports.facts import Facts
from drillbook.reports.text import duration

HEIGHT = 118.0
NEVER = 12.0
"""Height of the row at the top for requests whose first token never came."""
_Scale = Callable[[float], float]
_TICKS = tuple(base * 10**power for power in range(-4, 4) for base in (1, 3))


def panel(facts: Facts, frame: Frame) -> Panel:
    series = facts.series
    values = [value for one in series.bins for value in (one.ttft_p50, one.ttft_highest) if value]
    if not values:
        empty = svg.text("no first token in the whole run", frame.left + 8, HEIGHT / 2, "note")
        return Panel(title="First token", unit="", height=HEIGHT, drawing=empty, hint="no first token in the whole run")
    low, high = min(values) * 0.8, max(values) * 1.15
    if high / low < 10:
        low = high / 10

    def y(value: float) -> float:
        share = math.log(max(value, low) / low) / math.log(high / low)
        return HEIGHT - share * (HEIGHT - NEVER - 4)

    marks = [(y(tick), duration(tick)) for tick in _TICKS if low <= tick <= high]
    never = sum(dot.ttft is None for dot in series.dots)
    parts = [grid(frame, marks[-5:]), *(_dots(facts, frame, y) if series.dots else _band(facts, frame, y))]
    parts.append(_median(facts, frame, y))
    limit = next(
        (f.limit for f in facts.findings if f.role == "steady-state" and f.expectation.startswith("ttft")), None
    )
    if limit is not None and low <= limit <= high:
        parts.append(svg.line(frame.left, y(limit), frame.edge, y(limit), "limit"))
        words = f"steady state < {duration(limit)}"
        parts.append(svg.text(words, frame.edge - 4, y(limit) - 4, "limit-label", "end"))
    legend = (
        [("dot-ok", "a request"), ("median", "median")]
        if series.dots
        else [("band", "p50 to p95"), ("median", "median")]
    )
    if never:
        legend.append(("dot-none", f"no first token ({never})"))
    return Panel(
        title="First token",
        unit="TTFT, log scale",
        height=HEIGHT,
        drawing=svg.join(parts),
        legend=tuple(legend),
        hint=f"from {duration(min(values))} to {duration(max(values))}; {never} never came",
    )


def _dots(facts: Facts, frame: Frame, y: _Scale) -> Iterator[Markup]:
    for dot in facts.series.dots:
        x = frame.x(dot.at)
        if dot.ttft is None:
            words = f"{ago(dot.at)}: {dot.outcome.value}, no first token"
            path = f"M{x - 3.2:.1f} 2h6.4l-3.2 6z"
            yield svg.tag("path", svg.tag("title", words), d=path, class_=f"dot-none {dot.outcome.value}")
        elif dot.outcome is Outcome.OK:
            yield svg.tag("circle", cx=x, cy=y(dot.ttft), r=1.7, class_="dot-ok")
        else:
            words = f"{ago(dot.at)}: {dot.outcome.value} after a first token in {duration(dot.ttft)}"
            path = f"M{x - 3:.1f} {y(dot.ttft) - 3:.1f}l6 6m0-6l-6 6"
            yield svg.tag("path", svg.tag("title", words), d=path, class_=f"dot-cut {dot.outcome.value}")


def _band(facts: Facts, frame: Frame, y: _Scale) -> Iterator[Markup]:
    for one in facts.series.bins:
        if one.ttft_p50 is None or one.ttft_p95 is None:
            continue
        left, right = frame.x(one.start), frame.x(one.start + facts.series.width)
        words = f"{ago(one.start)}: p50 {duration(one.ttft_p50)}, p95 {duration(one.ttft_p95)}"
        yield svg.box(left, y(one.ttft_p95), right - left, y(one.ttft_p50) - y(one.ttft_p95) + 1, "band", words)


def _median(facts: Facts, frame: Frame, y: _Scale) -> Markup:
    path, pen = [], "M"
    for one in facts.series.bins:
        if one.ttft_p50 is None:
            pen = "M"
            continue
        path.append(f"{pen}{frame.x(one.start + facts.series.width / 2):.1f} {y(one.ttft_p50):.1f}")
        pen = "L"
    return svg.tag("path", d="".join(path), class_="median")
