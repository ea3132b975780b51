from __future__ import annotations

import itertools
import statistics

import pytest

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
