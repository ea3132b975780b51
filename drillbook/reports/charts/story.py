"""The story of a run on one time axis: phases, markers, and five panels under one another."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from drillbook.model.units import Dimension, show
from drillbook.reports.charts import frame as frames
from drillbook.reports.charts import goodput, guardrail, markers, outcomes, pods, signals, svg, ttft
from drillbook.reports.charts.frame import Frame, Panel, ago
from drillbook.reports.facts import Facts

GAP = 20.0
PHASES = 20.0
_PANELS: tuple[Callable[[Facts, Frame], Panel], ...] = (
    goodput.panel,
    ttft.panel,
    outcomes.panel,
    pods.panel,
    signals.panel,
)
_BESIDE_REQUESTS = 3
"""Where the panel of attacks stands, in runs that have any."""
_HATCHES = {
    "truncated": "M-1 1l2 -2M0 6l6 -6M5 7l2 -2",
    "hung": "M0 3h6",
    "shed": "M3 0v6",
    "starting": "M-1 1l2 -2M0 6l6 -6M5 7l2 -2",
    "terminating": "M-1 5l2 2M0 0l6 6M5 -1l2 2",
    "lying": "M-1 1l2 -2M0 6l6 -6M5 7l2 -2",
}


def story(facts: Facts) -> Markup:
    """Two drawings of the same facts, one for screens and paper and one for telephones; the style sheet shows one."""
    start, end = facts.series.start, facts.series.end
    return svg.join((_story(facts, frames.wide(start, end)), _story(facts, frames.narrow(start, end))))


def _story(facts: Facts, frame: Frame) -> Markup:
    panels = [draw(facts, frame) for draw in _PANELS]
    if facts.guardrails is not None:
        panels.insert(_BESIDE_REQUESTS, guardrail.panel(facts, frame))
    head = 34.0 if frame.compact else 18.0
    height = sum(head + panel.height + GAP for panel in panels)
    marks, top = markers.draw(markers.markers(facts), frame, PHASES + height)
    parts: list[Markup] = [_phases(facts, frame, top, height)]
    y = top + PHASES
    for panel in panels:
        parts.append(_panel(panel, frame, y, head))
        y += head + panel.height + GAP
    parts += [marks, _axis(facts, frame, y - GAP / 2)]
    words = f"{facts.header.title}: " + ". ".join(f"{panel.title}: {panel.hint}" for panel in panels)
    return svg.tag(
        "svg",
        svg.tag("title", "The run on one time axis", id=f"{frame.name}-title"),
        svg.tag("desc", words[:1500], id=f"{frame.name}-desc"),
        _defs(frame),
        *parts,
        role="img",
        aria_labelledby=f"{frame.name}-title {frame.name}-desc",
        class_=f"story {frame.name}",
        viewBox=f"0 0 {frame.width:g} {y + 34:g}",
        width=frame.width,
        height=y + 34,
    )


def _panel(panel: Panel, frame: Frame, y: float, head: float) -> Markup:
    parts: list[Markup] = []
    if frame.compact:
        parts.append(svg.text(panel.title, 0, 13, "panel-title"))
        parts.append(svg.text(panel.unit, svg.width_of(panel.title) * 1.4 + 12, 13, "panel-unit"))
        x, row = 0.0, 28.0
    else:
        # Lanes have their labels in the gutter, so their panel's title stands above them.
        parts.append(svg.text(panel.title, 0, head + 10 if panel.unit else 11, "panel-title"))
        parts.append(svg.text(panel.unit, 0, head + 25, "panel-unit"))
        x, row = frame.left, 11.0
    for class_, words in panel.legend:
        parts += [_swatch(frame, class_, x, row), svg.text(words, x + 14, row, "legend")]
        x += svg.width_of(words) + (26 if frame.compact else 32)
    body = svg.tag("g", panel.drawing, transform=f"translate(0 {head:g})")
    return svg.tag("g", *parts, body, transform=f"translate(0 {y:g})")


def _swatch(frame: Frame, class_: str, x: float, y: float) -> Markup:
    last = class_.split()[-1]
    if class_ == "dot-none":
        return svg.tag("path", d=f"M{x:.1f} {y - 8:.1f}h8l-4 7z", class_="dot-none")
    if class_ == "dot-ok":
        return svg.tag("circle", cx=x + 4, cy=y - 4, r=2.5, class_="dot-ok")
    if class_ == "median":
        return svg.line(x, y - 4, x + 10, y - 4, "median")
    fill = f"url(#{frame.name}-{last})" if last in _HATCHES else None
    return svg.box(x, y - 9, 10, 10, class_, fill=fill)


def _phases(facts: Facts, frame: Frame, top: float, height: float) -> Markup:
    parts: list[Markup] = []
    for number, band in enumerate(band for band in facts.phases if band.end > frame.start):
        left, right = frame.x(band.start), frame.x(band.end)
        words = f"{band.name.value}, {show(band.end - band.start, Dimension.DURATION)} from {ago(band.start)}"
        parts.append(
            svg.box(
                left, top, right - left, height + PHASES - GAP / 2, f"phase {'odd' if number % 2 else 'even'}", words
            )
        )
        if right - left > svg.width_of(band.name.value) + 6:
            parts.append(svg.text(band.name.value, (left + right) / 2, top + 13, "phase-label", "middle"))
    for start, end in facts.clocks.broken:
        left = frame.x(start)
        hint = f"users were failing for {show(end - start, Dimension.DURATION)}"
        parts.append(svg.box(left, top + PHASES, frame.x(end) - left, height - GAP / 2, "harm", hint))
    return svg.join(parts)


def _axis(facts: Facts, frame: Frame, y: float) -> Markup:
    zero = next((moment for moment in facts.timeline if moment.t >= 0), None)
    clock = f" (0 is {zero.utc[11:19]} UTC)" if zero else ""
    parts = [svg.line(frame.left, y, frame.edge, y, "axis")]
    for tick in frame.ticks():
        x = frame.x(tick)
        parts += [svg.line(x, y, x, y + 4, "axis"), svg.text(ago(tick), x, y + 16, "tick", "middle")]
    parts.append(svg.text("time since the end of the baseline" + clock, frame.edge, y + 31, "panel-unit", "end"))
    return svg.join(parts)


def _defs(frame: Frame) -> Markup:
    patterns = (
        svg.tag(
            "pattern",
            svg.tag("rect", width=6, height=6, class_=f"hatch-back {name}"),
            svg.tag("path", d=path, class_=f"hatch-line {name}"),
            id=f"{frame.name}-{name}",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        )
        for name, path in _HATCHES.items()
    )
    return svg.tag("defs", *patterns)
