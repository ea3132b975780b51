"""Kubernetes' two time formats (RFC 3339, to the second and to the microsecond), and its short ages."""

from __future__ import annotations

from datetime import UTC, datetime

from drillbook import clock


def stamp(seconds: float | None = None) -> str:
    """``metav1.Time`` of epoch ``seconds`` (now, by default)."""
    return datetime.fromtimestamp(clock.wall() if seconds is None else seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp() -> str:
    """``metav1.MicroTime`` of now."""
    return datetime.fromtimestamp(clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> float:
    """Epoch seconds of either format. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


def age(text: str | None) -> str:
    """The AGE column: ``12s``, ``3m4s``, ``5h``, ``2d``."""
    return duration(clock.wall() - parse(text)) if text else "<unknown>"


def duration(seconds: float) -> str:
    """A duration with at most two units, as kubectl shortens it."""
    total = max(0, int(seconds))
    if total < 120:
        return f"{total}s"
    minutes, second = divmod(total, 60)
    if minutes < 10:
        return f"{minutes}m{second}s" if second else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, minute = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{minute}m" if minute else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, hour = divmod(hours, 24)
    if days < 8:
        return f"{days}d{hour}h" if hour else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"
