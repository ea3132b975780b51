"""Against the worked examples of Newcombe (1998a, table I; 1998b, table II, method 10)."""

from __future__ import annotations

import itertools

import pytest

from drillbook.reports.intervals import mover, newcombe, quantile_interval, wilson


@pytest.mark.parametrize(
    ("good", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(good: int, total: int, low: float, high: float) -> None:
    assert wilson(good, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0),
    ],
)
def test_newcombe_gives_the_published_differences(a: int, m: int, b: int, n: int, low: float, high: float) -> None:
    assert newcombe(a, m, b, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_nothing_counted_leaves_everything_open() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert newcombe(0, 0, 3, 4) == (-1.0, 1.0)


def test_the_median_of_a_hundred_lies_between_its_order_statistics() -> None:
    assert quantile_interval([float(n) for n in range(1, 101)], 0.5) == (40.0, 61.0)


def test_a_p95_of_few_values_is_not_bounded() -> None:
    assert quantile_interval([float(n) for n in range(40)], 0.95) is None


def test_quantile_intervals_hold_the_true_median_about_as_often_as_they_promise() -> None:
    def binomial_tail(n: int, ranks: range) -> float:
        ways = itertools.accumulate(range(1, n + 1), lambda so_far, k: so_far * (n - k + 1) // k, initial=1)
        return sum(way for rank, way in enumerate(ways) if rank in ranks) / 2**n

    low, high = quantile_interval([float(n) for n in range(1, 201)], 0.5) or (0.0, 0.0)
    assert 0.95 <= binomial_tail(200, range(int(low), int(high))) <= 0.97


def test_a_difference_joins_the_far_ends_of_both_intervals() -> None:
    assert mover(5.0, (2.0, 9.0), 1.0, (0.0, 5.0)) == (4.0 - 5.0, pytest.approx(4.0 + (16 + 1) ** 0.5))
