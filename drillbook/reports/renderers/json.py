"""``report.json``: the facts as they are, for machines. Keys only grow within one ``schema``.

Times are seconds after time zero (the end of the baseline), shares between 0 and 1. Null stands for a value that does
not exist; a quantile that is null although its ``count`` is not 0 lies among users who never got a first token.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from drillbook.reports.facts import Facts

FILENAME = "report.json"
PLACES = 6
"""Decimals kept: microseconds, which is finer than any clock here."""


def render(facts: Facts) -> str:
    plain = _rounded(msgspec.to_builtins(msgspec.structs.replace(facts, attacks=())))
    del plain["attacks"]
    return msgspec.json.format(msgspec.json.encode(plain), indent=1).decode() + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, PLACES) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
