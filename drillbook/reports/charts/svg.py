"""SVG elements as safe markup: every attribute and every text is escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from drillbook.reports.text import clean

CHARACTER = 6.1
"""Mean width of a character at 11 px, in px: enough to keep labels apart without measuring fonts."""


def tag(name: str, *children: Markup | str, **attributes: object) -> Markup:
    """One element. ``class_`` is ``class``, other underscores are hyphens; numbers are cut to tenths of a pixel."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = join(child if isinstance(child, Markup) else clean(child) for child in children)
    return Markup(f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>")  # noqa: S704 (escaped above)


def join(parts: Iterable[Markup | str]) -> Markup:
    return Markup("").join(parts)


def text(content: str, x: float, y: float, class_: str = "", anchor: str | None = None) -> Markup:
    return tag("text", content, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def box(
    x: float, y: float, width: float, height: float, class_: str, hint: str = "", fill: str | None = None
) -> Markup:
    """A rectangle, with a tooltip where ``hint`` says something."""
    title = (tag("title", hint),) if hint else ()
    return tag("rect", *title, x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=class_, fill=fill)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def width_of(content: str) -> float:
    """Pixels that a label takes, about."""
    return len(content) * CHARACTER


def shorten(content: str, width: float) -> str:
    """The text where it fits, else its two ends: names of pods differ at the end."""
    room = max(4, int(width / CHARACTER))
    if len(content) <= room:
        return content
    tail = (room - 1) * 2 // 3
    return content[: room - 1 - tail] + "…" + content[-tail:]


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
