"""Whether a probe's value is within its tolerance. Never raises: what cannot be told is told as just that.

chaoslib compares ``None``, NaN, a list or a mapping with a range until Python gives up, and its run ends there with
the fault in place. Here such a value is outside the tolerance, and says that nothing was measured.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from drillbook.chaostoolkit import jsonpath
from drillbook.chaostoolkit.plain import shown
from drillbook.chaostoolkit.substitution import Variables

Ask = Callable[[dict[str, Any]], Awaitable[Any]]
"""Runs an activity, and gives what it returned."""
_SHOWN = 120


@dataclass(frozen=True)
class Within:
    """``measured`` is false where the value is none that the tolerance could be asked of: then nothing was learnt."""

    met: bool
    why: str
    measured: bool = True


async def within(tolerance: Any, value: Any, variables: Variables, ask: Ask) -> Within:
    """Ask the tolerance of the value. ``ask`` runs a tolerance that is itself a probe."""
    if isinstance(tolerance, str):
        tolerance = variables.fill(tolerance)
    if value is None and tolerance is not None and not _is_probe(tolerance):
        return Within(False, "the probe returned nothing", measured=False)
    if not isinstance(tolerance, dict):
        return _plain(tolerance, value)
    if tolerance["type"] == "probe":
        return await _probe(tolerance, value, ask)
    target = tolerance.get("target")
    if target:
        if not isinstance(value, dict) or target not in value:
            return Within(False, f"there is no {target!r} in {brief(value)}", measured=False)
        value = value[target]
    limits = variables.fill(tolerance)
    match tolerance["type"]:
        case "regex":
            return _regex(limits["pattern"], value)
        case "jsonpath":
            return _jsonpath(limits, value)
    return _range(limits["range"], value)


def brief(value: Any) -> str:
    """A value in a message."""
    text = shown(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _is_probe(tolerance: Any) -> bool:
    return isinstance(tolerance, dict) and tolerance.get("type") == "probe"


def _plain(tolerance: Any, value: Any) -> Within:
    if isinstance(value, dict) and "status" in value and not isinstance(tolerance, bool | str):
        value = value["status"]
    if isinstance(tolerance, list):
        if len(tolerance) == 2 and all(map(_is_number, tolerance)):
            return _range(tolerance, value)
        met = any(_equal(each, value) for each in tolerance)
        return Within(met, f"{brief(value)} is {'one' if met else 'none'} of {brief(tolerance)}")
    met = _equal(tolerance, value)
    return Within(met, f"{brief(value)} {'is' if met else 'is not'} {brief(tolerance)}")


def _equal(wanted: Any, value: Any) -> bool:
    try:
        return bool(wanted == value)
    except Exception:  # noqa: BLE001 - a user's object may compare as it likes; what cannot be compared is not equal
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> float | None:
    """Numbers, and texts that are numbers; a boolean counts as 0 or 1, as in Chaos Toolkit."""
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and math.isfinite(number) else None


def _range(limits: Any, value: Any) -> Within:
    number = _number(value)
    if number is None:
        return Within(False, f"{brief(value)} is no number, and a range was asked for", measured=False)
    low, high = float(limits[0]), float(limits[1])
    met = low <= number <= high
    return Within(met, f"{brief(value)} is {'' if met else 'not '}between {low:g} and {high:g}")


def _regex(pattern: Any, value: Any) -> Within:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return Within(False, f"{brief(value)} is no text that a pattern could match", measured=False)
    try:
        met = re.search(str(pattern), text) is not None
    except re.error as error:
        return Within(False, f"the pattern {brief(pattern)} cannot be read: {error}", measured=False)
    return Within(met, f"{brief(text)} {'matches' if met else 'does not match'} {brief(pattern)}")


def _jsonpath(limits: dict[str, Any], value: Any) -> Within:
    try:
        path = jsonpath.parse(str(limits["path"]))
        document = json.loads(value) if isinstance(value, str | bytes) else value
    except ValueError as error:
        return Within(False, f"{limits['path']} cannot be asked of {brief(value)}: {error}", measured=False)
    found = path.find(document)
    met, wanted = bool(found), "anything"
    if limits.get("count") is not None:
        met, wanted = len(found) == limits["count"], f"{limits['count']} values"
    if "expect" in limits:
        expected = limits["expect"] if isinstance(limits["expect"], list) else [limits["expect"]]
        met, wanted = found == expected, brief(expected)
    return Within(met, f"{limits['path']} found {brief(found)}, {wanted} was expected")


async def _probe(tolerance: dict[str, Any], value: Any, ask: Ask) -> Within:
    provider = {
        **tolerance["provider"],
        "arguments": {**(tolerance["provider"].get("arguments") or {}), "value": value},
    }
    from drillbook.chaostoolkit.providers.error import ActivityError

    try:
        answer = await ask({**tolerance, "provider": provider})
    except ActivityError as error:
        return Within(False, f"the tolerance could not be asked: {error}", measured=False)
    if isinstance(answer, dict) and isinstance(answer.get("status"), int):
        good = answer["status"] == 0 if "stdout" in answer else answer["status"] < 400
        return Within(good, f"the tolerance {tolerance['name']!r} ended with {answer['status']} for {brief(value)}")
    return Within(bool(answer), f"the tolerance {tolerance['name']!r} says {brief(answer)} of {brief(value)}")
