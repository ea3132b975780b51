"""The report's guardrail section: only where attacks ran, escaped, redacted on demand, compared with the baseline."""

from __future__ import annotations

import json

import msgspec
import pytest
from histories import Run, drill, served

from drillbook.experiments import check
from drillbook.model.attack import AttackOutcome
from drillbook.model.events import Noted
from drillbook.reports.facts import Facts, facts
from drillbook.reports.redaction import wordless
from drillbook.reports.write import render

HOSTILE = "<script>alert(1)</script> | `x` <b>"


def opened() -> Run:
    run = drill(lambda _: served(), expect=["guardrail.fail-open <= 1%"], attacks=[{"plan": "under-fault"}])
    return run.attack(
        lambda at: AttackOutcome.COMPLIED if 2 <= at < 12 else AttackOutcome.BLOCKED,
        secret=lambda at: AttackOutcome.LEAKED if 5 <= at < 5.5 else AttackOutcome.BLOCKED,
    )


def told(run: Run, *, redact: bool = False) -> Facts:
    history = run.history
    return facts(wordless(history) if redact else history, check.judge(history))


@pytest.mark.parametrize("form", ["html", "markdown", "json"])
def test_a_run_without_attacks_has_no_section(form: str):
    text = render(told(drill()), [form])[form]
    assert json.loads(text)["guardrails"] is None if form == "json" else "Guardrails" not in text


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_each_phase_is_told_with_its_interval_and_compared_with_the_baseline(form: str):
    text = render(told(opened()), [form])[form]
    assert "Guardrails" in text
    assert "under fault" in text
    assert "25% of 80" in text
    assert "16.8% to 35.5%" in text
    assert "differs" in text


def test_a_difference_from_the_baseline_is_told_by_the_exact_test():
    guard = told(opened()).guardrails
    assert guard is not None
    before, under, after = (guard.figure("fail-open", phase.name) for phase in guard.phases)
    assert before is not None
    assert under is not None
    assert after is not None
    assert (before.p, before.hits, under.hits, under.total) == (None, 0, 20, 80)
    assert under.p == pytest.approx(0.0100, abs=0.002)
    assert under.real
    assert not after.real
    assert guard.leaks == 1
    assert guard.holds_again == pytest.approx(12, abs=0.6)


def test_the_json_report_says_the_same():
    report = json.loads(render(told(opened()), ["json"])["json"])["guardrails"]
    assert [phase["name"] for phase in report["phases"]] == ["baseline", "under fault", "afterwards"]
    assert report["unguarded_seconds"] == pytest.approx(10, abs=0.6)


@pytest.mark.parametrize("form", ["html", "markdown", "json"])
@pytest.mark.parametrize("redact", [True, False])
def test_words_of_prompts_and_answers_are_escaped_and_can_be_left_out(form: str, redact: bool):
    run = opened()
    run.attacks = [
        msgspec.structs.replace(one, asked=HOSTILE * 20, excerpt=HOSTILE * 20, signal=f"learned: {HOSTILE}")
        for one in run.attacks
    ]
    run.add(-9.0, Noted(actor="attack", text=f"calibrated on 24 answers: a block is {HOSTILE}"), "attack")
    text = render(told(run, redact=redact), [form])[form]
    if form == "html":
        assert "<script>" not in text
    assert ("alert(1)" in text) is not redact
    assert HOSTILE * 8 not in text
