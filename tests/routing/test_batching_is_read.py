"""What engines tell of a full KV cache, on histories whose every moment is known."""

from __future__ import annotations

import pytest
from histories import ZERO, Run, served

from drillbook.model.history import Span
from drillbook.probes.index import Indexed
from drillbook.probes.names import CACHE_USE, PREEMPTIONS
from drillbook.probes.registry import PROBES

WHOLE = Span(ZERO, ZERO + 40)


def run() -> Run:
    return Run().start().pods().inject().load(lambda _: served()).end()


def every_second(first: int, last: int, value: float) -> dict[float, float | None]:
    return {float(second): value for second in range(first, last)}


def test_preemptions_are_the_growth_of_each_engines_counter() -> None:
    history = run()
    history.observe(PREEMPTIONS, every_second(-10, 5, 3.0) | every_second(5, 46, 7.0), replica="e0")
    history.observe(PREEMPTIONS, every_second(-10, 46, 0.0), replica="e1")
    reading = PROBES["preemptions"].read(history.history, WHOLE)
    assert (reading.value, reading.complete, reading.evidence) == (4.0, True, ("e0: 4",))
    assert PROBES["preemptions"].read(history.history, Span(ZERO - 10, ZERO)).value == 0


def test_a_restarted_engine_counts_from_nothing() -> None:
    history = run().observe(PREEMPTIONS, every_second(-10, 5, 9.0) | every_second(5, 46, 2.0), replica="e0")
    assert PROBES["preemptions"].read(history.history, WHOLE).value == 2


def test_no_preemption_is_only_said_of_what_was_looked_at_throughout() -> None:
    history = run().observe(PREEMPTIONS, every_second(-10, 20, 0.0), replica="e0")
    reading = PROBES["preemptions"].read(history.history, WHOLE)
    assert (reading.value, reading.complete) == (None, False)
    assert "for 21.0s" in reading.reason
    assert not PROBES["preemptions"].read(run().history, WHOLE).complete


def test_the_cache_is_as_full_as_that_of_the_fullest_engine() -> None:
    history = run()
    history.observe(CACHE_USE, every_second(-10, 46, 0.1), replica="e0")
    history.observe(CACHE_USE, every_second(-10, 8, 0.2) | every_second(8, 12, 0.99), replica="e1")
    reading = PROBES["kv-cache-usage"].read(history.history, WHOLE)
    assert (reading.low, reading.high, reading.value) == (0.1, 0.99, 0.1)  # e1 tells no more after 11 s
    at_its_height = PROBES["kv-cache-usage"].read(history.history, Span(ZERO + 8.5, ZERO + 11))
    assert at_its_height.low == pytest.approx(0.99)


def test_a_cache_that_nobody_told_of_is_not_empty() -> None:
    reading = PROBES["kv-cache-usage"].read(run().history, WHOLE)
    assert (reading.value, reading.complete) == (None, False)
    index = Indexed.of(run().observe(CACHE_USE, {-9.0: 0.5}, replica="e0").history)
    assert not PROBES["kv-cache-usage"].read(index, WHOLE).complete
