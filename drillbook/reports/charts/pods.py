"""Panel: what happened to each pod, a bar a pod."""

from __future__ import annotations

from drillbook.model.units import Dimension, show
from drillbook.reports.charts import svg
from drillbook.reports.charts.frame import Frame, Panel, ago
from drillbook.reports.facts import Facts

BAR = 14.0
_WORDS = ("pending", "starting", "ready", "terminating", "failed", "done")


def panel(facts: Facts, frame: Frame) -> Panel:
    row = BAR + (19 if frame.compact else 7)
    parts, y = [], 0.0
    for bar in facts.pods.bars:
        top = y + row - BAR - 2
        if frame.compact:
            parts.append(svg.text(bar.name, frame.left, top - 4, "lane-label"))
        else:
            parts.append(
                svg.text(svg.shorten(bar.name, frame.left - 12), frame.left - 8, top + 11, "lane-label", "end")
            )
        parts.append(svg.line(frame.left, top + BAR / 2, frame.edge, top + BAR / 2, "lane-rest"))
        for span in bar.spans:
            left, right = frame.x(span.start), frame.x(span.end)
            length = show(span.end - span.start, Dimension.DURATION)
            words = f"{bar.name} {span.state} from {ago(span.start)} for {length}" + (
                f" on {bar.node}" if bar.node else ""
            )
            fill = f"url(#{frame.name}-{span.state})" if span.state in ("starting", "terminating") else None
            parts.append(svg.box(left, top, max(right - left, 1.5), BAR, f"pod {span.state}", words, fill))
            if span.state == "ready" and right - left > svg.width_of("ready") + 8:
                parts.append(svg.text("ready", left + 5, top + 10.5, "in-bar"))
        y += row
    if facts.pods.quiet:
        parts.append(svg.text(f"and {facts.pods.quiet} more pods, not shown", frame.left, y + 12, "note"))
        y += 18
    seen = {span.state for bar in facts.pods.bars for span in bar.spans}
    return Panel(
        title="Pods",
        unit="",
        height=max(y, 4.0),
        drawing=svg.join(parts),
        legend=tuple((f"swatch pod {state}", state) for state in _WORDS if state in seen),
        hint="; ".join(
            f"{bar.name}: " + ", ".join(f"{s.state} from {ago(s.start)}" for s in bar.spans) for bar in facts.pods.bars
        ),
    )
