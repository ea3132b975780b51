import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.model.expectation import Anchor, ExpectationError, Operator, Quantifier, from_mapping, parse
from drillbook.model.units import Dimension

PROBES = {
    "goodput": Dimension.SHARE,
    "ttft.p95": Dimension.DURATION,
    "ready-engines": Dimension.COUNT,
    "guardrail.leaks": Dimension.COUNT,
    "recovered": None,
}


def test_a_comparison_is_read_once_over_the_whole_window():
    found = parse("goodput >= 95%", PROBES)
    assert (found.quantifier, found.operator, found.value) == (Quantifier.ONCE, Operator.GE, 0.95)


def test_within_implies_eventually_and_counts_from_the_injection():
    found = parse("recovered within 90s", PROBES)
    assert (found.quantifier, found.within, found.anchor) == (Quantifier.EVENTUALLY, 90, Anchor.INJECT)
    assert parse("recovered within 90s of undo", PROBES).anchor is Anchor.UNDO


def test_all_clauses_can_stand_together_in_any_order():
    found = parse("always ready-engines == 3 for 10s during observe", PROBES)
    assert (found.quantifier, found.hold, found.during) == (Quantifier.ALWAYS, 10, "observe")


@pytest.mark.parametrize(
    ("text", "at", "message", "hint"),
    [
        ("ttft.p95 < 800", 11, "'800' is a count, and a duration is wanted here", "ttft.p95 is a duration"),
        ("goodpt > 1%", 0, "no probe is called 'goodpt'", "did you mean 'goodput'?"),
        ("goodput = 3%", 8, "'=' compares nothing", "write '=='"),
        ("goodput", 7, "goodput is a share: it wants a comparison", "for example: goodput < 95%"),
        ("recovered < 3", 10, "recovered is an event", "recovered within 60s"),
        ("goodput > 3% wihtin 3s", 13, "unexpected 'wihtin'", "did you mean 'within'?"),
        ("goodput > 3% during injekt", 20, "no phase is called 'injekt'", "did you mean 'inject'?"),
        ("recovered within 3s of inject of undo", 30, "unexpected 'of'", "allowed"),
        ("recovered within 3s within 4s", 20, "'within' is said twice", ""),
        ("recovered within", 16, "a duration is wanted here", "60s"),
        ("", 0, "a probe's name is wanted here", "goodput >= 95%"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_an_error_points_at_the_very_word(text, at, message, hint):
    with pytest.raises(ExpectationError) as caught:
        parse(text, PROBES)
    assert caught.value.at == at
    assert message in caught.value.message
    assert hint in caught.value.hint


@given(st.text(max_size=80))
def test_any_text_is_an_expectation_or_an_error_with_a_place(text):
    error = None
    try:
        parse(text, PROBES)
    except ExpectationError as caught:
        error = caught
    assert error is None or 0 <= error.at <= len(text)


WORDS = st.sampled_from(
    [
        "always",
        "sometimes",
        "goodput",
        "ttft.p95",
        "recovered",
        "<",
        ">=",
        "95%",
        "800ms",
        "3",
        "for",
        "within",
        "of",
        "inject",
    ]
)


@given(st.lists(WORDS, max_size=9).map(" ".join))
def test_what_parses_says_all_that_it_compares(text):
    try:
        found = parse(text, PROBES)
    except ExpectationError:
        return
    assert (found.operator is None) == (found.value is None) == (PROBES[found.probe] is None)


def test_the_yaml_form_says_the_same_as_the_sentence():
    form = {"always": "goodput", "is": ">= 95%", "during": "observe", "for": "5s"}
    assert parse(from_mapping(form), PROBES).value == 0.95
    assert from_mapping(form) == "always goodput >= 95% during observe for 5s"
    with pytest.raises(ExpectationError, match="durring"):
        parse(from_mapping({"probe": "goodput", "is": ">= 95%", "durring": "observe"}), PROBES)
