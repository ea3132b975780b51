"""Legs that follow one another, of a recovery or of an autoscaler's lag, so that the longest stands out."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from drillbook.model.judgement import RecoveryPart
from drillbook.model.units import Dimension, show
from drillbook.reports.charts import svg

WIDTH, LEFT, RIGHT, ROW = 640.0, 132.0, 70.0, 24.0


def waterfall(legs: Sequence[RecoveryPart], title: str = "The legs of the recovery", name: str = "legs") -> Markup:
    """Empty where there are no legs. ``name`` tells the elements of one chart from those of another on the page."""
    if not legs:
        return Markup("")
    start = legs[0].start
    ends = [leg.end for leg in legs if leg.end is not None]
    whole = max([*ends, *(leg.start for leg in legs)]) - start or 1.0
    longest = max(
        (leg for leg in legs if leg.end is not None), key=lambda leg: (leg.end or 0) - leg.start, default=None
    )

    def x(moment: float) -> float:
        return LEFT + (moment - start) / whole * (WIDTH - LEFT - RIGHT)

    parts: list[Markup] = []
    for number, leg in enumerate(legs):
        y = number * ROW
        parts.append(svg.text(leg.name, LEFT - 8, y + 15, "lane-label", "end"))
        if leg.end is None:
            parts.append(svg.text("never", x(leg.start) + 5, y + 15, "leg-never"))
            continue
        length = show(leg.end - leg.start, Dimension.DURATION)
        class_ = "leg longest" if leg is longest else "leg"
        hint = f"{leg.name}: {length}" + (f" ({leg.pod})" if leg.pod else "")
        parts.append(svg.box(x(leg.start), y + 5, max(1.5, x(leg.end) - x(leg.start)), ROW - 10, class_, hint))
        parts.append(svg.text(length, x(leg.end) + 5, y + 15, "leg-value"))
    height = len(legs) * ROW + 4
    words = "; ".join(
        f"{leg.name} {show(leg.end - leg.start, Dimension.DURATION) if leg.end else 'never'}" for leg in legs
    )
    return svg.tag(
        "svg",
        svg.tag("title", title, id=f"{name}-title"),
        svg.tag("desc", words, id=f"{name}-desc"),
        *parts,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_="waterfall",
        viewBox=f"0 0 {WIDTH:g} {height:g}",
    )
