"""Dose and response: the time between tokens against what was done to the link, and the path that was left alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from drillbook.reports.charts import svg
from drillbook.reports.links import LinkFacts, LinkStage
from drillbook.reports.text import duration

WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT = 640.0, 250.0, 62.0, 20.0, 26.0, 40.0
MOST = 12
"""Stages that are drawn; a flap of hundreds is told by its table."""
_TICKS = tuple(base * 10**power for power in range(-5, 3) for base in (1, 3))
_Place = Callable[[float], float]


def dose(link: LinkFacts) -> Markup:
    """Empty where no two stages have tokens."""
    stages = [stage for stage in link.stages if stage.itl_p50][:MOST]
    if len(stages) < 2:
        return Markup("")
    values = [value for stage in stages for value in (stage.itl_p50, stage.itl_p95, stage.health_p50) if value]
    low, high = min(values) * 0.7, max(values) * 1.4

    def x(place: float) -> float:
        return LEFT + (place + 0.5) * (WIDTH - LEFT - RIGHT) / len(stages)

    def y(value: float) -> float:
        return HEIGHT - FOOT - math.log(value / low) / math.log(high / low) * (HEIGHT - FOOT - TOP)

    parts: list[Markup] = []
    for tick in (tick for tick in _TICKS if low <= tick <= high):
        parts.append(svg.line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "grid"))
        parts.append(svg.text(duration(tick), LEFT - 6, y(tick) + 3.5, "tick", "end"))
    parts.append(
        _curve([(x(place), y(stage.health_p50)) for place, stage in enumerate(stages) if stage.health_p50], "mark")
    )
    parts.append(
        _curve([(x(place), y(stage.itl_p50)) for place, stage in enumerate(stages) if stage.itl_p50], "median")
    )
    for place, stage in enumerate(stages):
        parts += _point(stage, x(place), y)
        parts.append(svg.text(stage.name, x(place), HEIGHT - FOOT + 16, "lane-label", "middle"))
        if stage.slower:
            parts.append(svg.text(f"{stage.slower:.1f}x", x(place), HEIGHT - FOOT + 30, "tick", "middle"))
    parts.append(svg.text("time between tokens: median, and up to p95 (log scale)", LEFT, 12, "legend"))
    parts.append(svg.text("dashed: /health of the same pods", WIDTH - RIGHT, 12, "legend", "end"))
    words = "; ".join(f"{stage.name}: {duration(stage.itl_p50)}" for stage in stages)
    name = f"dose-{link.id}"
    return svg.tag(
        "svg",
        svg.tag("title", "Time between tokens against the rate of the link", id=f"{name}-title"),
        svg.tag("desc", words, id=f"{name}-desc"),
        *parts,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_="waterfall",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
    )


def _point(stage: LinkStage, x: float, y: _Place) -> list[Markup]:
    assert stage.itl_p50 is not None
    hint = f"{stage.name}: median {duration(stage.itl_p50)}, p95 {duration(stage.itl_p95)}, {stage.gaps} tokens"
    whisker = [svg.line(x, y(stage.itl_p50), x, y(stage.itl_p95), "axis")] if stage.itl_p95 else []
    return [*whisker, svg.tag("circle", svg.tag("title", hint), cx=x, cy=y(stage.itl_p50), r=4.0, class_="leg longest")]


def _curve(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    path = "".join(f"{'L' if place else 'M'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))
    return svg.tag("path", d=path, class_=class_, fill="none") if path else Markup("")
