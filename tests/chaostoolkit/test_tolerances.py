"""Every tolerance of Chaos Toolkit, on the values that it is for and on those that break chaoslib."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.chaostoolkit.providers.error import ActivityError
from drillbook.chaostoolkit.substitution import Variables
from drillbook.chaostoolkit.tolerance import within

RANGE = {"type": "range", "range": [1, 5]}
NONSENSE = [None, math.nan, math.inf, {}, {"a": 1}, [], [1], "text", b"x", object(), 10**400]


async def never(_):
    raise AssertionError("no probe was to be asked")


async def asked(tolerance, value, **configuration):
    return await within(tolerance, value, Variables(configuration), never)


@pytest.mark.parametrize(
    ("tolerance", "value", "met"),
    [
        (True, True, True),
        (True, False, False),
        (200, 200, True),
        (200, {"status": 200, "body": ""}, True),
        (200, {"status": 503}, False),
        (0, {"status": 0, "stdout": ""}, True),
        ("ready", "ready", True),
        ("ready", "gone", False),
        ([200, 204, 301], {"status": 204}, True),
        (["a", "b", "c"], "b", True),
        (["a", "b", "c"], "d", False),
        ([0, 5], 5, True),
        ([0, 5], 6, False),
        (["a", "b"], "b", True),
        (RANGE, 3, True),
        (RANGE, "3.5", True),
        (RANGE, 5.1, False),
        ({**RANGE, "target": "load"}, {"load": 2}, True),
        ({"type": "regex", "pattern": "^v[0-9]+$"}, "v12", True),
        ({"type": "regex", "pattern": "ok", "target": "body"}, {"status": 200, "body": "all ok"}, True),
        ({"type": "regex", "pattern": "ok", "target": "body"}, {"status": 200, "body": "down"}, False),
        ({"type": "jsonpath", "path": "$.pods[*].name", "count": 2}, {"pods": [{"name": "a"}, {"name": "b"}]}, True),
        ({"type": "jsonpath", "path": "$.phase", "expect": "Running"}, '{"phase": "Running"}', True),
        ({"type": "jsonpath", "path": "$.phase", "expect": ["x"], "target": "body"}, {"body": {"phase": "y"}}, False),
        ({"type": "jsonpath", "path": "$.missing"}, {"phase": 1}, False),
    ],
)  # fmt: skip
async def test_a_value_is_within_its_tolerance_or_not(tolerance, value, met):
    found = await asked(tolerance, value)
    assert (found.met, found.measured) == (met, True), found.why


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("tolerance", [RANGE, [0, 5], {"type": "regex", "pattern": "^never$"}], ids=str)
async def test_what_cannot_be_measured_is_a_failed_probe_and_never_a_crash(tolerance, value):
    found = await asked(tolerance, value)
    assert not found.met
    assert found.measured is (isinstance(value, str | bytes) and tolerance == {"type": "regex", "pattern": "^never$"})


@pytest.mark.parametrize("tolerance", [True, 1, "x", [1, 2, 3], RANGE, {"type": "jsonpath", "path": "$"}], ids=str)
async def test_a_probe_that_returned_nothing_was_no_measurement(tolerance):
    assert await asked(tolerance, None) == await asked(tolerance, None)
    assert not (await asked(tolerance, None)).measured


async def test_a_missing_target_is_told():
    found = await asked({**RANGE, "target": "load"}, {"other": 1})
    assert (found.met, found.measured) == (False, False)
    assert "'load'" in found.why


async def test_variables_are_put_into_patterns_and_texts():
    assert (await asked("${phase}", "Running", phase="Running")).met
    assert (await asked({"type": "regex", "pattern": "${pattern}"}, "abc", pattern="b")).met
    assert (await asked({"type": "jsonpath", "path": "$.a", "expect": "${n}"}, {"a": 3}, n=3)).met


async def test_a_tolerance_that_is_a_probe_is_given_the_value():
    seen = []

    async def ask(activity):
        seen.append(activity["provider"]["arguments"])
        return activity["provider"]["arguments"]["value"] > 3

    tolerance = {"type": "probe", "name": "big", "provider": {"type": "python", "module": "m", "func": "f"}}
    assert (await within(tolerance, 4, Variables(), ask)).met
    assert not (await within(tolerance, 2, Variables(), ask)).met
    assert seen == [{"value": 4}, {"value": 2}]


async def test_a_tolerance_that_fails_when_asked_measures_nothing():
    async def ask(_):
        raise ActivityError("broken")

    tolerance = {"type": "probe", "name": "big", "provider": {"type": "python", "module": "m", "func": "f"}}
    found = await within(tolerance, 4, Variables(), ask)
    assert (found.met, found.measured) == (False, False)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(value=_VALUES)
async def test_no_value_at_all_makes_a_tolerance_raise(value):
    for tolerance in (True, 3, "x", [0, 5], [1, 2, 3], RANGE, {**RANGE, "target": "x"},
                      {"type": "regex", "pattern": "a"}, {"type": "jsonpath", "path": "$..a"}):  # fmt: skip
        found = await asked(tolerance, value)
        assert isinstance(found.met, bool)
        assert found.why
