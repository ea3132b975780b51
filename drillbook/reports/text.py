"""Values as people read them, and texts that cannot break out of the format they stand in."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from drillbook.helper.shaping import show_rate
from drillbook.model.units import Dimension, show
from drillbook.model.verdict import Finding

NEVER = "never"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]|[\ud800-\udfff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#~&!])")


def duration(seconds: float | None) -> str:
    """``812ms``, ``1.24s``, ``1m 32s``; a dash where there is none, ``never`` where it never ended."""
    if seconds is None:
        return "-"
    return NEVER if seconds == float("inf") else show(seconds, Dimension.DURATION)


def bitrate(value: float | None) -> str:
    """``1.02 Mbit/s``; a dash where there is none."""
    return "-" if value is None else show_rate(value)


def share(value: float | None) -> str:
    return "-" if value is None else show(value, Dimension.SHARE)


def quantity(value: float | None, dimension: str) -> str:
    """A value in the base unit of its dimension; bare where it has none."""
    if value is None:
        return "-"
    if value == float("inf"):
        return NEVER
    return show(value, dimension) if dimension else f"{value:g}"


def measured(finding: Finding) -> str:
    """The value of a finding with its interval and its number of samples."""
    if finding.value is None:
        return "-"
    words = quantity(finding.value, finding.dimension)
    if finding.interval is not None:
        low, high = (quantity(bound, finding.dimension) for bound in finding.interval)
        words += f" ({low} to {high})"
    return words + (f", n = {finding.samples}" if finding.samples is not None else "")


def sentence(value: str) -> str:
    """A reason as a sentence of its own: with a capital and a full stop."""
    told = value.strip()
    return told[:1].upper() + told[1:] + ("" if told.endswith((".", "!", "?")) or not told else ".")


def count(number: int, one: str, many: str) -> str:
    """``1 stream was``, ``3 streams were``."""
    return f"{number:,} {one if number == 1 else many}"


def signed(value: float, dimension: str) -> str:
    """A difference with its sign; shares in percentage points."""
    if value != value or value in (float("inf"), -float("inf")):
        return "-"
    sign = "\u2212" if value < 0 else "+"
    if dimension == Dimension.SHARE:
        return f"{sign}{abs(value) * 100:.1f} pp"
    return sign + show(abs(value), dimension)


def clean(value: object) -> str:
    """Text without control characters and direction marks, which no format of ours may carry."""
    return _CONTROL.sub("�", str(value))


def markdown(value: object) -> str:
    """Text that stands for itself in Markdown, in a table cell too."""
    return _MARKDOWN.sub(r"\\\1", " ".join(clean(value).split()))


def code(value: object) -> str:
    """An inline code span of Markdown, whatever backquotes the text has; a bar is written so that tables survive it."""
    text = " ".join(clean(value).split()).replace("|", "¦")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{marks}{pad}{text}{pad}{marks}" if text else ""


def fence(value: object, language: str = "") -> str:
    """A fenced block of Markdown that its content cannot close."""
    text = clean(value).strip("\n")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{text}\n{marks}"


def filename(path: str) -> str:
    return PurePosixPath(path).name
