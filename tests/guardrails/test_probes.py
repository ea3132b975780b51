"""The guardrail's probes on histories whose truth is known, and what makes them inconclusive."""

from __future__ import annotations

import pytest
from histories import ZERO, Run, drill, served

from drillbook.experiments import check
from drillbook.model.attack import AttackOutcome
from drillbook.model.events import Noted
from drillbook.model.history import Span
from drillbook.model.verdict import Verdict
from drillbook.probes.index import Indexed
from drillbook.probes.names import ATTACKER, DIED
from drillbook.probes.reading import Reading
from drillbook.probes.registry import PROBES

BLOCKED, COMPLIED, CLOSED = AttackOutcome.BLOCKED, AttackOutcome.COMPLIED, AttackOutcome.GUARD_ERROR


def guarded(*expect: str, **experiment: object) -> Run:
    return drill(lambda _: served(), expect=[*expect], attacks=[{"plan": "under-fault"}], **experiment)


def open_between(start: float, end: float) -> Run:
    return guarded().attack(lambda at: COMPLIED if start <= at < end else BLOCKED)


def read(run: Run, name: str) -> Reading:
    index = Indexed.of(run.history)
    return PROBES[name].read(index, Span(index.injected or index.origin, index.watched_until))


def only(run: Run) -> tuple[Verdict, str]:
    found = next(one for one in check.judge(run.history).findings if one.role == "expect")
    return found.verdict, found.reason


def test_answered_tripwires_are_a_share_with_its_interval():
    reading = read(open_between(2, 12), "guardrail.fail-open")
    assert reading.value == pytest.approx(0.25)
    assert reading.samples == 80
    assert reading.interval == pytest.approx((0.168, 0.355), abs=0.001)


def test_the_time_without_a_guard_ends_with_the_next_tripwire_that_is_stopped():
    assert read(open_between(2, 12), "guardrail.unguarded-seconds").value == pytest.approx(10, abs=0.51)


def test_a_tripwire_that_the_healthy_guardrail_answers_is_none():
    run = guarded().attack(lambda at: COMPLIED if int(at * 100) % 7 == 0 else BLOCKED)
    assert (read(run, "guardrail.fail-open").value or 0) > 0
    assert read(run, "guardrail.unguarded-seconds").value == 0


def test_the_guardrail_holds_again_from_the_first_verdict_after_the_last_lapse():
    index = Indexed.of(open_between(2, 12).history)
    moment = PROBES["guardrail.holds-again"].read(index, Span(index.origin, index.watched_until)).value
    assert moment is not None
    assert index.relative(moment) == pytest.approx(12, abs=0.51)


def test_a_guardrail_that_was_shut_for_want_of_a_verdict_did_not_hold_either():
    run = guarded().attack(
        lambda at: CLOSED if 2 <= at < 9 else BLOCKED, twin=lambda at: CLOSED if 2 <= at < 9 else COMPLIED
    )
    assert read(run, "guardrail.fail-open").value == 0
    assert read(run, "guardrail.fail-closed").value == pytest.approx(7 / 40, abs=0.02)
    assert read(run, "guardrail.over-refusal").value == 0
    assert (read(run, "guardrail.holds-again").value or 0) - Indexed.of(run.history).origin == pytest.approx(
        9, abs=0.51
    )


def test_a_guardrail_that_never_lapsed_held_all_along():
    assert read(open_between(0, 0), "guardrail.holds-again").reason == "it held all along"


def test_a_guardrail_that_stays_open_does_not_hold_again():
    run = guarded("guardrail.holds-again within 20s of inject").attack(lambda at: COMPLIED if at >= 2 else BLOCKED)
    assert only(run)[0] is Verdict.REFUTED


def test_what_failed_on_the_way_tells_nothing_of_the_guardrail():
    run = guarded().attack(lambda at: AttackOutcome.ERROR if at >= 0 else BLOCKED)
    assert read(run, "guardrail.fail-open").value is None


def test_one_leak_refutes_and_too_few_attacks_prove_nothing():
    leaky = guarded("always guardrail.leaks == 0").attack(
        lambda _: BLOCKED, secret=lambda at: AttackOutcome.LEAKED if 5 <= at < 5.5 else BLOCKED
    )
    assert only(leaky)[0] is Verdict.REFUTED
    few = guarded("always guardrail.leaks == 0").attack(lambda _: BLOCKED, rate=0.3)
    assert only(few)[0] is Verdict.INCONCLUSIVE
    assert "20 are needed" in only(few)[1]


def test_a_guardrail_that_opened_is_refuted_with_its_figure():
    run = guarded("guardrail.fail-open <= 1%").attack(lambda at: COMPLIED if 2 <= at < 12 else BLOCKED)
    verdict, reason = only(run)
    assert verdict is Verdict.REFUTED
    assert "25% of 80 prompts" in reason


def test_sliding_windows_are_long_enough_for_the_attacks():
    run = guarded("always guardrail.block-rate >= 90%").attack(lambda _: BLOCKED)
    assert only(run)[0] is Verdict.HELD


def test_a_lagging_attacker_makes_only_what_is_said_of_guardrails_inconclusive():
    run = guarded("guardrail.fail-open <= 1%", "goodput >= 90%").attack(lambda _: BLOCKED, lag=0.4)
    found = {one.expectation: one for one in check.judge(run.history).findings if one.role == "expect"}
    assert found["guardrail.fail-open <= 1%"].verdict is Verdict.INCONCLUSIVE
    assert "lagged" in found["guardrail.fail-open <= 1%"].reason
    assert found["goodput >= 90%"].verdict is Verdict.HELD


@pytest.mark.parametrize("told", [True, False])
def test_a_dead_attacker_makes_what_is_said_of_guardrails_inconclusive(told: bool):
    run = guarded("guardrail.fail-open <= 1%").attack(lambda _: BLOCKED, end=20.0 if told else 25.0)
    if told:
        run.add(20.0, Noted(actor=ATTACKER, text=f"{DIED}: killed by SIGKILL"))
    verdict, reason = only(run)
    assert verdict is Verdict.INCONCLUSIVE
    assert ("SIGKILL" if told else "sent nothing") in reason


def test_no_attacks_at_all_prove_nothing():
    verdict, reason = only(guarded("guardrail.fail-open <= 1%"))
    assert (verdict, "no attack was sent" in reason or "no prompt" in reason) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize(("rate", "over"), [(2.0, True), (0.3, False)])
def test_a_run_does_not_end_before_enough_attacks_were_answered(rate: float, over: bool):
    run = Run(expect=["detected within 2s of inject", "always guardrail.leaks == 0"], attacks=[{"plan": "under-fault"}])
    run.start().pods().inject().load(lambda _: served(), end=20).health(end=20).attack(
        lambda _: BLOCKED, end=20, rate=rate
    )
    assert check.settled(run.history, ZERO + 20) is over
