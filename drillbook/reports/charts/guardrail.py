"""Panel: adversarial prompts by what they came to, on the run's time axis; and shares by phase with their intervals."""

from __future__ import annotations

import math

from markupsafe import Markup

from drillbook.model.units import Dimension, show
from drillbook.reports.charts import svg
from drillbook.reports.charts.frame import Frame, Panel, ago, grid
from drillbook.reports.charts.outcomes import step
from drillbook.reports.facts import Facts
from drillbook.reports.guardrails import FATES, GuardrailFacts
from drillbook.reports.text import share

HEIGHT = 78.0
WIDTH, LEFT, RIGHT, ROW = 640.0, 200.0, 110.0, 21.0
SHOWN = ("fail-open", "fail-closed", "block-rate")
_HATCHED = ("shed", "hung", "truncated")


def panel(facts: Facts, frame: Frame) -> Panel:
    """Stacked bars; only drawn where attacks ran."""
    guard = facts.guardrails
    assert guard is not None
    most = max((sum(one.counts.values()) for one in guard.bins), default=1)
    by = step(most)
    top = math.ceil(most / by) * by
    parts = [grid(frame, [(HEIGHT * (1 - count / top), f"{count:,}") for count in range(0, top + 1, by)])]
    totals = dict.fromkeys(FATES, 0)
    for one in guard.bins:
        if one.start + guard.width <= frame.start:
            continue
        left, width, below = frame.x(one.start), frame.x(one.start + guard.width) - frame.x(one.start), 0
        for fate, words in FATES.items():
            count = one.counts.get(fate, 0)
            totals[fate] += count
            if count:
                y, height = HEIGHT * (1 - (below + count) / top), HEIGHT * count / top
                fill = f"url(#{frame.name}-{fate})" if fate in _HATCHED else None
                gap = 0.6 if width > 3 else 0.0
                hint = f"{ago(one.start)}: {count} {words}"
                parts.append(svg.box(left + gap, y, width - 2 * gap, height, f"bar {fate}", hint, fill))
                below += count
    legend = tuple((f"swatch {fate}", f"{words} {totals[fate]:,}") for fate, words in FATES.items() if totals[fate])
    return Panel(
        title="Attacks",
        unit=f"per {show(guard.width, Dimension.DURATION)}, by fate",
        height=HEIGHT,
        drawing=svg.join(parts),
        legend=legend,
        hint=", ".join(words for _, words in legend),
    )


def intervals(guard: GuardrailFacts) -> Markup:
    """Each share of each phase as a dot on its 95 % interval."""
    parts: list[Markup] = []
    y, words = 0.0, []
    for name in SHOWN:
        for phase in guard.phases:
            figure, label = guard.figure(name, phase.name), f"{name}, {phase.name}"
            parts.append(svg.text(label, LEFT - 8, y + 14, "lane-label", "end"))
            parts.append(svg.line(LEFT, y + 10, WIDTH - RIGHT, y + 10, "lane-rest"))
            if figure is None or figure.value is None:
                parts.append(svg.text("no prompts", LEFT + 5, y + 14, "legend"))
                y += ROW
                continue
            low, high = (_x(bound) for bound in figure.interval)
            told = f"{share(figure.value)} of {figure.total}"
            hint = f"{label}: {told}, {share(figure.interval[0])} to {share(figure.interval[1])}"
            class_ = "leg longest" if figure.real else "leg"
            parts.append(svg.box(low, y + 6, max(1.5, high - low), 8, class_, hint))
            parts.append(svg.tag("circle", cx=_x(figure.value), cy=y + 10, r=4, class_="guard-dot"))
            parts.append(svg.text(told, WIDTH - RIGHT + 10, y + 14, "leg-value"))
            words.append(hint)
            y += ROW
        y += 7
    parts += [svg.text(share(mark), _x(mark), y + 10, "tick", "middle") for mark in (0.0, 0.5, 1.0)]
    return svg.tag(
        "svg",
        svg.tag("title", "The guardrail by phase, with 95 % intervals", id="guard-title"),
        svg.tag("desc", "; ".join(words)[:1500], id="guard-desc"),
        *parts,
        role="img",
        aria_labelledby="guard-title guard-desc",
        class_="waterfall",
        viewBox=f"0 0 {WIDTH:g} {y + 16:g}",
    )


def _x(value: float) -> float:
    return LEFT + value * (WIDTH - LEFT - RIGHT)
