"""What users of a sticky router saw, on histories whose every moment is known: each of twelve asks once a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from histories import ZERO, Run, drill, hung, refused, served

from drillbook.experiments.evaluate import finding, frame
from drillbook.model.expectation import parse
from drillbook.model.history import Span
from drillbook.model.request import Outcome
from drillbook.model.verdict import Finding, Verdict
from drillbook.probes.index import Indexed
from drillbook.probes.registry import PROBES, dimensions

WHOLE = Span(ZERO, ZERO + 40)
SESSIONS = 12

Fate = Callable[[int, float], dict[str, Any]]
"""What becomes of a request by its session and by when it was scheduled."""


def asked(fate: Fate, sessions: int = SESSIONS) -> Indexed:
    """Session ``n`` asks ``n / sessions`` of a second after each full one."""

    def of(at: float) -> dict[str, Any]:
        place = round(at * sessions) % sessions
        return {**fate(place, at), "session": f"session-{place}"}

    run = Run().start().pods().inject().load(of, rate=float(sessions)).health().end()
    return Indexed.of(run.history)


def read(index: Indexed, name: str, window: Span = WHOLE) -> Any:
    return PROBES[name].read(index, window)


def test_a_session_that_lost_one_answer_is_broken_once() -> None:
    index = asked(lambda session, at: refused() if session in (1, 2, 3) and 0 < at < 1 else served())
    breaks = read(index, "session-breaks")
    assert (breaks.value, breaks.samples, breaks.complete) == (3 / 12, 12, True)
    assert set(breaks.evidence) == {"session-1", "session-2", "session-3"}
    assert read(index, "session-losses").value == 1


def test_the_outage_lasts_from_the_lost_answer_to_the_first_token_of_the_next() -> None:
    index = asked(lambda session, at: refused() if session == 3 and 0 < at < 1 else served(ttft=0.05))
    outage = read(index, "session-outage")
    assert outage.value == pytest.approx(1 + 0.05 - 0.005, abs=0.01)  # the error came 5 ms after it was sent
    assert (outage.complete, outage.evidence) == (True, ("session-3",))


def test_the_worst_session_counts_not_the_mean_one() -> None:
    index = asked(
        lambda session, at: refused() if (session == 5 and 0 < at < 4) or (session == 6 and 0 < at < 2) else served()
    )
    assert read(index, "session-losses").value == 4
    assert read(index, "session-losses").evidence == ("session-5",)
    assert read(index, "session-outage").value == pytest.approx(4, abs=0.1)


def test_what_was_lost_before_the_blow_is_not_its_doing() -> None:
    index = asked(lambda session, at: refused() if at < -5 else served())
    assert read(index, "session-breaks").value == 0
    assert read(index, "session-losses").value == 0
    assert read(index, "session-outage").value == 0


def test_a_hung_session_is_out_from_the_moment_it_asked() -> None:
    index = asked(lambda session, at: hung(5.0) if session == 4 and 0 < at < 1 else served())
    assert read(index, "session-losses").value == 1
    assert read(index, "session-outage").value == pytest.approx(1.05, abs=0.02)  # its next question was answered


def test_a_session_that_is_not_served_again_was_out_at_least_until_the_end() -> None:
    index = asked(lambda session, at: refused() if session == 7 and at > 30 else served())
    outage = read(index, "session-outage")
    assert outage.at_least
    assert not outage.complete
    assert outage.reason == "session-7 was not served again"
    assert outage.value == pytest.approx(40 - 30.6, abs=0.5)


def test_requests_whose_end_was_not_seen_leave_the_losses_open() -> None:
    unknown = {"tokens": (), "took": 0.5, "outcome": Outcome.UNKNOWN}
    index = asked(lambda session, at: unknown if session < 2 and at > 0 else served())
    for name in ("session-breaks", "session-losses", "session-outage"):
        reading = read(index, name)
        assert not reading.complete
        assert "was not seen" in reading.reason
    assert read(index, "session-losses").at_least


def test_few_sessions_have_no_share() -> None:
    reading = read(asked(lambda session, at: served(), sessions=4), "session-breaks")
    assert not reading.complete
    assert reading.reason == "only 4 sessions asked for anything, and 10 are needed"


@pytest.mark.parametrize("name", ["session-breaks", "session-losses", "session-outage"])
def test_a_load_without_sessions_says_nothing(name: str) -> None:
    reading = read(Indexed.of(drill().history), name)
    assert (reading.value, reading.complete) == (None, False)
    assert reading.reason == "no request names a session"


@pytest.mark.parametrize("name", ["session-breaks", "session-losses", "session-outage"])
def test_a_stretch_in_which_nobody_asked_says_nothing(name: str) -> None:
    reading = read(asked(lambda session, at: served()), name, Span(ZERO + 100, ZERO + 110))
    assert (reading.value, reading.complete) == (None, False)


@pytest.mark.parametrize("name", ["session-breaks", "session-losses", "session-outage"])
def test_without_a_fault_there_is_no_blow(name: str) -> None:
    run = Run().start().load(lambda at: {**served(), "session": "session-1"}).end()
    assert read(Indexed.of(run.history), name).reason == "no fault was injected"


def judged(index: Indexed, expect: str) -> Finding:
    wanted = parse(expect, dimensions())
    return finding(index, wanted, "expect", frame(index, wanted, default=WHOLE))


def test_a_verdict_speaks_of_sessions() -> None:
    index = asked(lambda session, at: refused() if session in (1, 2, 3) and 0 < at < 1 else served())
    found = judged(index, "session-breaks <= 20%")
    assert found.verdict is Verdict.REFUTED
    assert found.reason == "session-breaks was 25% of 12 sessions; at most 20% was wanted"


@pytest.mark.parametrize("expect", ["session-breaks <= 100%", "session-losses <= 1000", "session-outage < 1h"])
def test_nothing_is_held_where_no_request_names_a_session(expect: str) -> None:
    assert judged(Indexed.of(drill().history), expect).verdict is Verdict.INCONCLUSIVE
