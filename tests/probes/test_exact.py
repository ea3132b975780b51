"""Fisher's exact test, against values worked out by hand and by enumeration."""

import math

import pytest

from drillbook.probes.exact import SURE, fisher


def test_the_lady_who_tasted_tea():
    assert fisher(3, 4, 1, 4) == pytest.approx(0.4857142857)
    assert fisher(4, 4, 0, 4) == pytest.approx(2 / 70)


def test_equal_shares_do_not_differ():
    assert fisher(5, 10, 5, 10) == pytest.approx(1.0)
    assert fisher(0, 40, 0, 25) == 1.0


def test_nothing_can_be_told_from_nothing():
    assert fisher(0, 0, 7, 9) == 1.0


def test_a_guardrail_that_fell_open_differs_from_one_that_held():
    assert fisher(0, 60, 55, 60) < 1e-20
    assert fisher(0, 60, 2, 60) > SURE


def test_it_is_symmetric():
    assert fisher(2, 17, 9, 20) == pytest.approx(fisher(9, 20, 2, 17))
    assert fisher(2, 17, 9, 20) == pytest.approx(fisher(15, 17, 11, 20))


def test_it_is_the_sum_over_all_tables_that_are_no_likelier():
    def brute(a, n, b, m):
        def weight(k):
            return math.comb(n, k) * math.comb(m, a + b - k)

        tables = [weight(k) for k in range(max(0, a + b - m), min(n, a + b) + 1)]
        return sum(w for w in tables if w <= weight(a)) / math.comb(n + m, a + b)

    for a, n, b, m in [(1, 8, 6, 9), (0, 5, 5, 5), (12, 30, 20, 30), (7, 7, 0, 3)]:
        assert fisher(a, n, b, m) == pytest.approx(brute(a, n, b, m))
