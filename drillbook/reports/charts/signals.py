"""Panel: a lane for users and one for each signal, so that green while users were failing is seen at a glance."""

from __future__ import annotations

from markupsafe import Markup

from drillbook.model.units import Dimension, show
from drillbook.reports.charts import svg
from drillbook.reports.charts.frame import Frame, Panel, ago
from drillbook.reports.facts import Facts
from drillbook.reports.signals import Signal

LANE = 14.0
THIN = 5.0
MOST_LANES = 10


def panel(facts: Facts, frame: Frame) -> Panel:
    row = LANE + (19 if frame.compact else 7)
    parts, y = [], 0.0
    watched = [signal for signal in facts.signals if signal.kind != "heartbeat"]
    shown = [*watched[:MOST_LANES], *(signal for signal in facts.signals if signal.kind == "heartbeat")]
    lanes = (
        ("users", _users(facts, frame)),
        *((("every signal", _all(facts, frame)),) if facts.signals else ()),
        *((signal.name, _lane(signal, facts, frame)) for signal in shown),
    )
    for number, (name, drawing) in enumerate(lanes):
        top = y + row - LANE - 2
        kind = "lane-label strong" if number < 2 else "lane-label"
        if frame.compact:
            parts.append(svg.text(name, frame.left, top - 4, kind))
        else:
            parts.append(svg.text(svg.shorten(name, frame.left - 12), frame.left - 8, top + 11, kind, "end"))
        parts.append(svg.line(frame.left, top + LANE / 2, frame.edge, top + LANE / 2, "lane-rest"))
        parts.append(svg.tag("g", drawing, transform=f"translate(0 {top:g})"))
        y += row
    more = len(facts.signals) - len(shown)
    if more:
        parts.append(svg.text(f"and {more} more signals; the table has them all", frame.left, y + 12, "note"))
        y += 18
    legend = [("swatch green", "green"), ("swatch red", "red")]
    if any(signal.pending for signal in facts.signals):
        legend.append(("swatch pending", "alert pending"))
    if any(signal.green_while_broken for signal in facts.signals):
        legend.append(("swatch lying", "green while users fail"))
    return Panel(
        title="Signals",
        unit="",
        height=y,
        drawing=svg.join(parts),
        legend=tuple(legend),
        hint="; ".join(
            f"{one.name} " + ("stayed green" if one.turned is None else f"turned red at {ago(one.turned)}")
            for one in shown
        ),
    )


def _users(facts: Facts, frame: Frame) -> Markup:
    parts = []
    for start, end in facts.clocks.broken:
        words = f"failing {show(end - start, Dimension.DURATION)}"
        parts += _span(frame, start, end, "broken", words, f"users were {words} from {ago(start)}")
    return svg.join(parts)


def _all(facts: Facts, frame: Frame) -> Markup:
    """The headline: when every signal was green at once and users were failing."""
    parts = []
    for start, end in facts.clocks.green_while_broken:
        length = show(end - start, Dimension.DURATION)
        hint = f"every signal was green for {length} while users were failing, from {ago(start)}"
        parts += _span(frame, start, end, "lane lying", f"all green {length}", hint, f"url(#{frame.name}-lying)")
    return svg.join(parts)


def _lane(signal: Signal, facts: Facts, frame: Frame) -> Markup:
    parts, y = [], (LANE - THIN) / 2
    for start, end in signal.green:
        x = frame.x(start)
        parts.append(svg.box(x, y, frame.x(end) - x, THIN, "lane green", f"{signal.name}: green from {ago(start)}"))
    for start, end in _both(signal.green, facts.clocks.broken):
        x, length = frame.x(start), show(end - start, Dimension.DURATION)
        hint = f"{signal.name} was green for {length} while users were failing"
        parts.append(svg.box(x, y - 1, frame.x(end) - x, THIN + 2, "lane lying", hint, f"url(#{frame.name}-lying)"))
    for start, end in signal.pending:
        hint = f"{signal.name}: pending from {ago(start)} for {show(end - start, Dimension.DURATION)}"
        parts += _span(frame, start, end, "lane pending", "pending", hint)
    for start, end in signal.red:
        hint = f"{signal.name}: red from {ago(start)} for {show(end - start, Dimension.DURATION)}"
        parts += _span(frame, start, end, "lane red", "red", hint)
    return svg.join(parts)


def _span(
    frame: Frame, start: float, end: float, class_: str, words: str, hint: str, fill: str | None = None
) -> list[Markup]:
    left, right = frame.x(start), frame.x(end)
    parts = [svg.box(left, 0.0, max(right - left, 1.5), LANE, class_, hint, fill)]
    if right - left > svg.width_of(words) + 8:
        parts.append(svg.text(words, (left + right) / 2, 10.5, f"in-bar on-{class_.split()[-1]}", "middle"))
    return parts


def _both(one: tuple[tuple[float, float], ...], other: tuple[tuple[float, float], ...]) -> list[tuple[float, float]]:
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in one for b in other)
    return [(start, end) for start, end in pairs if end > start]
