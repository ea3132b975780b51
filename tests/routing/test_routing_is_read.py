"""Where a router sends requests, on histories whose every moment is known: three engines, four a second each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from histories import ZERO, Run, served

from drillbook.model.events import FaultChanged, FaultState, Observed
from drillbook.model.history import Span
from drillbook.probes.index import Indexed
from drillbook.probes.names import FINISHED, SENT
from drillbook.probes.registry import PROBES

WHOLE = Span(ZERO, ZERO + 40)
HANG, KILL, SCALE = "0-process-hang", "0-pod-kill", "0-scale"

Sent = Callable[[str, float], bool]
"""Whether an engine gets requests at a moment."""


def routed(run: Run, sent: Sent, *, step: float = 0.5, last: float = 45.0, names: str = "e0 e1 e2") -> Run:
    """Looks at the router, in each of which every engine that gets requests has two more."""
    counts = dict.fromkeys(names.split(), 0)
    for place in range(int((last + 10) / step)):
        at = -10 + place * step
        for name in counts:
            counts[name] += 2 * sent(name, at)
        labels = {"router": "r", **{f"10.0.0.{name[1:]}": str(count) for name, count in counts.items()}}
        run.add(at, Observed(probe=SENT, value=float(sum(counts.values())), labels=labels), "observer")
    return run


def answering(run: Run, name: str, works: Callable[[float], bool], start: float = -10.0) -> Run:
    """What an engine tells each second of the answers that it brought to their end."""
    count = 0.0
    for second in range(int(start), 46):
        count += 4 * works(second)
        run.observe(FINISHED, {second + 0.2: count}, replica=name)
    return run


def engines(run: Run) -> Run:
    for place in range(3):
        run.pod(-10, f"e{place}", change="present", ip=f"10.0.0.{place}")
    return run


def hung(sent: Sent, back: float | None = 20.0, **more: Any) -> Indexed:
    """e1 hangs from 0 s to 20 s."""
    run = engines(Run().start([HANG], hold=20.0, targets=["e1"])).inject(fault=HANG)
    routed(run, sent, **more)
    for name in ("e0", "e1", "e2"):
        answering(run, name, lambda at, name=name: name != "e1" or at <= 0 or (back is not None and at > back + 2))
    if back is not None:
        run.add(back, FaultChanged(id=HANG, state=FaultState.UNDONE))
    return over(run)


def over(run: Run) -> Indexed:
    return Indexed.of(run.load(lambda _: served()).health().end().history)


def read(index: Indexed, name: str, window: Span = WHOLE) -> Any:
    return PROBES[name].read(index, window)


def test_the_time_until_a_hung_engine_gets_no_more_is_read_off_the_routers_count() -> None:
    index = hung(lambda name, at: name != "e1" or at <= 7 or at > 25)
    assert read(index, "traffic-stops").value == pytest.approx(7, abs=0.5)
    assert read(index, "traffic-stops").complete
    assert read(index, "sent-to-dead").value == 2 * 13  # the looks at 1.0, 1.5 … 7.0


def test_an_engine_that_gets_requests_to_the_end_has_no_end_of_its_traffic() -> None:
    reading = read(hung(lambda name, at: True), "traffic-stops")
    assert (reading.at_least, reading.complete) == (True, False)
    assert reading.value == pytest.approx(20, abs=0.6)  # when it was undone


def test_a_silence_in_which_nobody_else_got_anything_either_is_no_proof() -> None:
    reading = read(hung(lambda name, at: at <= 5 or at > 25), "traffic-stops")
    assert reading.at_least
    assert not reading.complete


def test_a_healed_engine_is_used_again_when_it_was_sent_a_request_and_then_served() -> None:
    index = hung(lambda name, at: name != "e1" or at <= 7 or at > 25)
    assert read(index, "healed-replica-used").value == pytest.approx(ZERO + 27.2)
    assert read(index, "traffic-returns").value == pytest.approx(7.2)


def test_requests_that_are_sent_and_never_served_are_no_use() -> None:
    run = engines(Run().start([HANG], hold=20.0, targets=["e1"])).inject(fault=HANG)
    routed(run, lambda name, at: True)
    answering(run, "e1", lambda at: at <= 0)
    index = over(run.add(20, FaultChanged(id=HANG, state=FaultState.UNDONE)))
    reading = read(index, "healed-replica-used")
    assert (reading.value, reading.complete) == (None, True)
    assert "no answer came to its end" in reading.reason
    assert read(index, "traffic-returns").at_least


def test_an_engine_that_the_router_forgets_is_not_used_again() -> None:
    reading = read(hung(lambda name, at: name != "e1" or at <= 7), "healed-replica-used")
    assert (reading.value, reading.complete) == (None, True)
    assert reading.reason == "nothing was sent to e1 after it was whole"


def test_a_killed_engine_is_healed_by_the_pod_in_its_place() -> None:
    run = engines(Run().start([KILL], targets=["e1"])).inject(fault=KILL)
    run.pod(0.1, "e1", ready=False, change="modified", deleting=True, ip="10.0.0.1")
    run.pod(0.2, "e1", ready=False, change="deleted", ip="10.0.0.1")
    run.pod(0.3, "e3", ready=False, change="added")
    run.pod(6, "e3", ip="10.0.0.3")
    routed(run, lambda name, at: {"e1": at <= 1.5, "e3": at >= 8}.get(name, True), names="e0 e1 e2 e3")
    index = over(answering(run, "e3", lambda at: at >= 8, start=6))
    assert read(index, "traffic-stops").value == pytest.approx(1.5, abs=0.1)
    assert read(index, "sent-to-dead").value == 4  # the looks at 1.0 and 1.5
    assert read(index, "traffic-returns").value == pytest.approx(3.2)
    assert read(index, "traffic-returns").evidence == ("e3",)


def test_engines_that_a_scale_down_takes_away_are_struck_too() -> None:
    run = engines(Run().start([SCALE], hold=20.0)).inject(fault=SCALE)
    run.pod(1, "e2", change="modified", deleting=True, ip="10.0.0.2")
    routed(run, lambda name, at: name != "e2" or at <= 3)
    index = over(run)
    assert read(index, "traffic-stops").value == pytest.approx(2)
    assert read(index, "sent-to-dead").value == 8


def test_the_share_of_the_struck_is_also_known_of_the_time_before() -> None:
    index = hung(lambda name, at: name != "e1" or at <= 7 or at > 25)
    assert read(index, "traffic-share", Span(ZERO - 9, ZERO)).value == pytest.approx(1 / 3)
    assert read(index, "traffic-share", Span(ZERO + 10, ZERO + 20)).value == 0


def test_a_router_that_began_anew_counts_from_nothing() -> None:
    run = engines(Run().start([HANG], hold=20.0, targets=["e1"])).inject(fault=HANG)
    for at in range(-10, 46):
        count = 100 if at < 1 else 104 if at < 2 else 3
        labels = {"router": "r", "10.0.0.1": str(count), "10.0.0.0": str(10 * count)}
        run.add(at, Observed(probe=SENT, value=1.0, labels=labels), "observer")
    assert read(over(run), "sent-to-dead").value == 3


@pytest.mark.parametrize("name", ["traffic-stops", "sent-to-dead", "traffic-share", "healed-replica-used"])
def test_without_a_routers_word_nothing_is_said(name: str) -> None:
    silent = over(engines(Run().start([HANG], hold=20.0, targets=["e1"])).inject(fault=HANG))
    broken = engines(Run().start([HANG], hold=20.0, targets=["e1"])).inject(fault=HANG)
    broken.observe(SENT, {float(second): None for second in range(-10, 46)}, error="it does not tell", router="r")
    stale = hung(lambda name, at: True, last=12.0)
    for index, why in (
        (silent, "no router was asked"),
        (over(broken), "it does not tell"),
        (stale, "told nothing for"),
    ):
        reading = read(index, name)
        assert not reading.complete
        assert why in reading.reason


def test_where_no_engine_was_struck_nothing_is_said() -> None:
    run = routed(engines(Run().start(["0-load-surge"])).inject(fault="0-load-surge"), lambda name, at: True)
    assert read(over(run), "traffic-stops").reason == "no engine was struck"


def test_an_engine_that_got_nothing_before_cannot_be_said_to_get_no_more() -> None:
    reading = read(hung(lambda name, at: name != "e1"), "traffic-stops")
    assert not reading.complete
    assert "before it was struck either" in reading.reason
