from __future__ import annotations

import random

import pytest

from drillbook.model.history import History
from drillbook.model.request import Outcome, RequestRecord, Stream
from drillbook.probes.index import Indexed
from drillbook.reports.series import MOST_BINS, MOST_DOTS, series


def request(at: float, outcome: Outcome = Outcome.OK) -> RequestRecord:
    tokens = (100_000, 120_000) if outcome is Outcome.OK else ()
    return RequestRecord(
        id=f"r{at}", stream=Stream.LOAD, scheduled=at, sent=at, first_byte=None, tokens=tokens, end=at + 0.2,
        outcome=outcome, status=200,
    )  # fmt: skip


@pytest.mark.parametrize(("seconds", "width"), [(100, 1), (400, 2), (3600, 15), (86_400, 600)])
def test_bins_are_round_and_bounded(seconds: int, width: int) -> None:
    rng = random.Random(1)
    moments = sorted([*(rng.uniform(0, seconds) for _ in range(2_000)), 0.0, seconds - 0.5])
    found = series(Indexed.of(History([], [request(at) for at in moments])))
    assert found.width == width
    assert len(found.bins) <= MOST_BINS + 1
    assert sum(sum(one.outcomes.values()) for one in found.bins) == len(moments)
    assert found.dots == ()


def test_requests_are_shown_one_by_one_while_a_chart_can() -> None:
    few = History([], [request(at / 10) for at in range(MOST_DOTS)])
    assert len(series(Indexed.of(few)).dots) == MOST_DOTS


def test_a_bin_of_requests_that_never_ended_has_no_goodput() -> None:
    found = series(Indexed.of(History([], [request(0.1, Outcome.UNKNOWN), request(5.0)])))
    assert [one.goodput for one in found.bins] == [None, 1.0]
