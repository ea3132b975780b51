"""Label and field selectors: the text of a query, and the structured ones inside objects, as predicates."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from drillbook.sandbox.control import statuses
from drillbook.sandbox.control.objects import Json, dig, labels_of

Labels = Mapping[str, str]
LabelTest = Callable[[Labels], bool]
Predicate = Callable[[Json], bool]

_TERM = re.compile(
    r"\s*(?P<key>[\w./-]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)\s*(?:,|$)"
    r"|\s*(?P<not>!?)\s*(?P<key2>[\w./-]+)\s*(?:(?P<op2>==|=|!=|>|<)\s*(?P<value>[\w./-]*))?\s*(?:,|$)"
)


def _number(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None


def _above(key: str, op: str, limit: int) -> LabelTest:
    def test(labels: Labels) -> bool:
        number = _number(labels.get(key))
        return number is not None and (number > limit if op == ">" else number < limit)

    return test


def _requirement(key: str, op: str, values: frozenset[str]) -> LabelTest:
    if op in ("in", "=", "=="):
        return lambda labels: labels.get(key) in values
    if op in ("notin", "!="):
        return lambda labels: key not in labels or labels[key] not in values
    if op == "exists":
        return lambda labels: key in labels
    if op == "!":
        return lambda labels: key not in labels
    return _above(key, op, _number(next(iter(values))) or 0)


def _all(tests: list[LabelTest]) -> LabelTest:
    if len(tests) == 1:
        return tests[0]
    return lambda labels: all(test(labels) for test in tests)


@lru_cache(maxsize=512)
def parse_labels(text: str) -> LabelTest:
    """``app=vllm,role in (decode,prefill),!canary``. Raises ApiError 400."""
    tests: list[LabelTest] = []
    position = 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None or found.end() == position:
            raise statuses.bad_request(f"unable to parse requirement: label selector {text!r}, character {position}")
        position = found.end()
        if found["op"]:
            values = frozenset(part.strip() for part in found["values"].split(","))
            tests.append(_requirement(found["key"], found["op"], values))
        elif found["op2"]:
            tests.append(_requirement(found["key2"], found["op2"], frozenset((found["value"],))))
        else:
            tests.append(_requirement(found["key2"], "!" if found["not"] else "exists", frozenset()))
    return _all(tests)


_STRUCTURED = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": ">", "Lt": "<"}


def of_selector(selector: Json | None) -> LabelTest:
    """A ``metav1.LabelSelector``: missing selects nothing, empty selects everything."""
    if selector is None:
        return lambda _: False
    wanted = dict(selector.get("matchLabels") or {})
    tests: list[LabelTest] = [lambda labels: all(labels.get(key) == value for key, value in wanted.items())]
    tests += of_expressions(selector.get("matchExpressions") or [])
    return _all(tests)


def of_expressions(expressions: list[Json]) -> list[LabelTest]:
    """One test per ``matchExpressions`` row (also node affinity's, with Gt and Lt)."""
    return [
        _requirement(row["key"], _STRUCTURED.get(row["operator"], "exists"), frozenset(row.get("values") or ["0"]))
        for row in expressions
    ]


def selector_text(selector: Json | None) -> str:
    """A LabelSelector as the text of a query (``status.selector`` of a Scale)."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for row in selector.get("matchExpressions") or []:
        values = ",".join(row.get("values") or [])
        parts.append(
            {
                "In": f"{row['key']} in ({values})",
                "NotIn": f"{row['key']} notin ({values})",
                "Exists": row["key"],
                "DoesNotExist": f"!{row['key']}",
            }[row["operator"]]
        )
    return ",".join(parts)


def parse_fields(text: str, supported: frozenset[str]) -> list[tuple[str, bool, str]]:
    """``spec.nodeName=a,status.phase!=Failed`` as (path, equal, value). Raises ApiError 400."""
    terms = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"\s*([\w.]+)\s*(==|=|!=)\s*(.*?)\s*", part)
        if found is None:
            raise statuses.bad_request(f"invalid field selector {text!r}: wants field=value or field!=value")
        path, operator, value = found.groups()
        if path not in supported and path not in ("metadata.name", "metadata.namespace"):
            raise statuses.bad_request(f"field label not supported: {path}")
        terms.append((path, operator != "!=", value))
    return terms


def _field_text(obj: Json, path: str) -> str:
    value: Any = dig(obj, *path.split("."), default="")
    return str(value).lower() if isinstance(value, bool) else str(value)


def predicate(labels: str, fields: str, supported: frozenset[str]) -> Predicate | None:
    """Both selectors as one test of an object; None where everything is wanted."""
    label_test = parse_labels(labels) if labels else None
    terms = parse_fields(fields, supported)
    if label_test is None and not terms:
        return None

    def test(obj: Json) -> bool:
        for path, equal, value in terms:
            found = _field_text(obj, path) or ("false" if path == "spec.unschedulable" else "")
            if (found == value) is not equal:
                return False
        return label_test is None or label_test(labels_of(obj))

    return test
