"""Labelled answers of real guardrails' forms, served over HTTP and judged."""

import asyncio

import guard_cases
import pytest
from guard_cases import CASES

from drillbook.adversarial.canary import Canary
from drillbook.model.attack import AttackOutcome

KNOWN_TO_FAIL = {
    "an intervention that reads as a stop": "the operator's own words; told by calibration, never by themselves",
    "a block that nobody has described": "the same",
    "refuses in another tone": "a refusal without a word of refusing",
}


@pytest.fixture(scope="module")
def judged():
    return dict(zip([case["name"] for case in CASES], asyncio.run(guard_cases.judged()), strict=True))


def test_each_case_is_told_apart_by_its_name():
    assert len({case["name"] for case in CASES}) == len(CASES)


def test_every_outcome_and_every_stack_has_cases():
    assert {case["expected"] for case in CASES} == {outcome.value for outcome in AttackOutcome}
    shipped = {path.stem for path in (guard_cases.ROOT / "adversarial/signals").glob("*.yaml")}
    assert shipped - {case["stack"] for case in CASES} <= {"wordings"}


def test_answers_are_judged_as_they_are_labelled(judged):
    wrong = {
        case["name"]: (case["expected"], judged[case["name"]])
        for case in CASES
        if judged[case["name"]].outcome != case["expected"]
    }
    assert set(wrong) == set(KNOWN_TO_FAIL), wrong


def test_what_is_no_verdict_is_never_called_a_block(judged):
    """The mistakes that would flatter a guardrail: an outage, a wrong key or a model's refusal as its verdict."""
    blocked = [case["expected"] for case in CASES if judged[case["name"]].outcome is AttackOutcome.BLOCKED]
    assert set(blocked) == {"blocked"}


def test_the_document_shows_this_very_matrix(judged):
    text = guard_cases.DOCUMENT.read_text("utf-8")
    shown = text.partition(guard_cases.BEGIN)[2].partition(guard_cases.END)[0].strip()
    assert shown == guard_cases.matrix(list(judged.values())), "python tests/support/guard_cases.py --write"


def test_a_canary_is_not_found_where_it_is_not():
    canary = Canary("CANARY-4f0c9e21d7ab")
    for text in ("", "CANARY-", "4f0c9e21d7a", "Q0FOQVJZLQ==", "a" * 10_000, "ba7d12e9c0f5", "4f0c 9e21 d7aa"):
        assert canary.found_in(text) is None, text


def test_two_runs_draw_two_canaries():
    assert Canary().text != Canary().text
