from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.load import schedule


def first(count, *args):
    return list(itertools.islice(schedule.arrivals(*args), count))


@pytest.mark.parametrize("kind", ["poisson", "constant"])
def test_the_same_seed_gives_the_same_schedule(kind):
    assert first(1000, 6.0, kind, 7) == first(1000, 6.0, kind, 7)


def test_another_seed_gives_another_schedule():
    assert first(10, 6.0, "poisson", 7) != first(10, 6.0, "poisson", 8)


def test_constant_arrivals_do_not_drift():
    assert first(30_001, 3.0, "constant", 1)[30_000] == 10_000.0


def test_poisson_gaps_have_the_mean_and_the_spread_of_a_poisson_process():
    offsets = first(20_000, 50.0, "poisson", 3)
    gaps = [late - early for early, late in itertools.pairwise(offsets)]
    assert statistics.fmean(gaps) == pytest.approx(1 / 50, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.05)  # of an exponential: equal to its mean


def test_prompts_are_drawn_evenly_and_the_same_for_the_same_seed():
    draws = list(itertools.islice(schedule.choices(4, 1), 4000))
    assert draws == list(itertools.islice(schedule.choices(4, 1), 4000))
    assert all(900 < draws.count(index) < 1100 for index in range(4))


def dues(table, count):
    out = []
    for _ in range(count):
        out.append(table.due)
        table.step()
    return out


def test_a_change_of_rate_begins_at_its_time_and_ends_at_the_next():
    table = schedule.Timetable(1.0, "constant", 1)
    table.change(2.0, 4.0)
    table.change(3.0, 1.0)
    assert dues(table, 9) == [0.0, 1.0, 2.0, 2.25, 2.5, 2.75, 3.0, 4.0, 5.0]


def test_a_change_moves_the_arrival_that_is_not_due_yet():
    table = schedule.Timetable(0.1, "constant", 1)
    table.step()
    assert table.due == 10.0
    table.change(5.0, 10.0)
    assert table.due == pytest.approx(5.05), "half of the way to it was over"


def test_a_pause_holds_arrivals_back_until_its_end():
    table = schedule.Timetable(1.0, "constant", 1)
    table.change(1.5, 0.0)
    table.step()
    table.step()
    assert table.due == math.inf
    table.change(10.0, 1.0)
    assert table.due == 10.5


def test_what_was_said_of_a_later_time_is_void_once_an_earlier_change_is_said():
    table = schedule.Timetable(1.0, "constant", 1)
    table.change(5.0, 100.0)
    table.change(2.0, 2.0)
    assert dues(table, 6) == [0.0, 1.0, 2.0, 2.5, 3.0, 3.5]


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20)), max_size=6),
    st.sampled_from(["poisson", "constant"]),
)
def test_whatever_is_changed_arrivals_never_go_back_in_time(changes, kind):
    table = schedule.Timetable(3.0, kind, 1)
    for at, rate in changes:
        table.change(at, rate)
    offsets = dues(table, 50)
    assert offsets == sorted(offsets)
