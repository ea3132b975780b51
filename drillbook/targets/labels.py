"""Label selectors, judged here: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/."""

from __future__ import annotations

import re
from collections.abc import Mapping

from drillbook.errors import UsageError

_SET = re.compile(r"(?P<key>[^\s=!,()]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s=!,()]+)\s*(?P<operator>==?|!=)\s*(?P<value>[^\s=!,()]*)")
_EXISTS = re.compile(r"(?P<not>!?)\s*(?P<key>[^\s=!,()]+)")


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether an object with these labels is selected; the empty selector selects everything.

    :raises UsageError: the selector is not one.
    """
    return all(_holds(part.strip(), labels) for part in re.split(r",(?![^(]*\))", selector) if part.strip())


def _holds(requirement: str, labels: Mapping[str, str]) -> bool:
    if match := _SET.fullmatch(requirement):
        values = {value.strip() for value in match["values"].split(",")}
        return (labels.get(match["key"]) in values) == (match["operator"] == "in")
    if match := _EQUAL.fullmatch(requirement):
        return (labels.get(match["key"]) == match["value"]) == (match["operator"] != "!=")
    if match := _EXISTS.fullmatch(requirement):
        return (match["key"] in labels) != bool(match["not"])
    raise UsageError(f"{requirement!r} is no label selector", hint="write for example app=vllm, tier in (a,b), !canary")
