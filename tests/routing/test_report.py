"""What reports say of routing and of batching, on a history whose every moment is known."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from histories import Run, request, served

from drillbook.experiments.check import judge
from drillbook.model.events import FaultChanged, FaultState, Observed
from drillbook.model.history import History
from drillbook.model.request import Outcome, Stream
from drillbook.probes.names import CACHE_USE, FINISHED, PREEMPTIONS, SENT
from drillbook.reports.facts import Facts, facts
from drillbook.reports.renderers import html, markdown

HANG = "0-process-hang"


def told(history: History) -> Facts:
    return facts(history, judge(history))


def hung() -> Run:
    """e1 hangs from 0 s to 20 s and is sent requests for 7 s of them."""
    run = Run().start([HANG], hold=20.0, targets=["e1"])
    for place in range(2):
        run.pod(-10, f"e{place}", change="present", ip=f"10.0.0.{place}")
    run.inject(fault=HANG)
    counts = [0, 0]
    for place in range(110):
        at = -10 + place / 2
        counts[0] += 2
        counts[1] += 2 * (at <= 7 or at > 22)
        labels = {"router": "r", "10.0.0.0": str(counts[0]), "10.0.0.1": str(counts[1])}
        run.add(at, Observed(probe=SENT, value=float(sum(counts)), labels=labels), "observer")
        run.observe(FINISHED, {at + 0.1: float(counts[1] if not 0 < at < 23 else 80)}, replica="e1")
    run.add(20, FaultChanged(id=HANG, state=FaultState.UNDONE))
    return run.load(lambda _: served()).health().end()


def test_a_report_says_how_long_a_hung_engine_was_sent_requests_and_when_it_served_again() -> None:
    found = told(hung().history)
    assert found.routing is not None
    (victim,) = found.routing.struck
    assert (victim.engine, victim.heir, victim.sent) == ("e1", "e1", 26)
    assert victim.last_sent == pytest.approx(7)
    assert victim.healed_at == pytest.approx(20)
    assert victim.used_at is not None
    for text in (html.render(found), markdown.render(found)):
        assert "26 requests were sent to" in text
        assert "was whole again" in text


def test_without_a_routers_word_there_is_no_such_section() -> None:
    found = told(Run().start().pods().inject().load(lambda _: served()).health().end().history)
    assert (found.routing, found.batching) == (None, None)
    assert "<h2>Routing" not in html.render(found)
    assert "<h2>Batching" not in html.render(found)


def flooded() -> Run:
    run = Run().start(["0-prompt-flood"]).pods().inject(fault="0-prompt-flood")
    run.load(lambda at: served(gap=0.1 if 0 < at < 20 else 0.02)).health().end()
    for second in range(-10, 46):
        full = 0.97 if 0 < second < 20 else 0.1
        run.observe(CACHE_USE, {second + 0.1: full}, replica="e0")
        run.observe(PREEMPTIONS, {second + 0.1: 5.0 if second > 10 else 0.0}, replica="e0")
    for place in range(40):
        one: Any = request(f"flood-{place}", place / 2, tokens=(900_000,), took=0.9, outcome=Outcome.OK)
        run.requests.append(msgspec.structs.replace(one, stream=Stream.FLOOD, prompt_tokens=1600))
    return run


def test_a_report_tells_the_flood_apart_from_the_users_and_what_it_did_to_them() -> None:
    found = told(flooded().history)
    assert found.batching is not None
    assert found.batching.flood is not None
    assert (found.batching.flood.requests, found.batching.flood.outcomes) == (40, {"ok": 40})
    before, during, *_ = found.batching.stretches
    assert (before.preemptions, during.preemptions) == (0, 5)
    assert before.cache_high == pytest.approx(0.1)
    assert during.cache_high == pytest.approx(0.97)
    assert (before.gaps_p99, during.gaps_p99) == (pytest.approx(0.02), pytest.approx(0.1))
    assert found.harm.total == len([one for one in flooded().requests if one.stream is Stream.LOAD])
    for text in (html.render(found), markdown.render(found)):
        assert "A second load of 40 prompts of about 1600 tokens" in text


def test_where_nobody_asked_what_an_engine_served_the_report_does_not_say_that_it_did_not() -> None:
    run = hung()
    run.lines = [line for line in run.lines if getattr(line.event, "probe", "") != FINISHED]
    found = told(run.history)
    assert found.routing is not None
    assert (found.routing.struck[0].used_at, found.routing.struck[0].use_known) == (None, False)
    for text in (html.render(found), markdown.render(found)):
        assert "was whole again" in text
        assert "seen to serve" not in text
