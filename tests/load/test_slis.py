from __future__ import annotations

import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.load import slis
from drillbook.load.slis import Latency, Share
from drillbook.model.events import Line
from drillbook.model.experiment import SloSpec
from drillbook.model.request import Outcome, RequestRecord, Stream


def record(scheduled=0.0, *, tokens=(100_000, 150_000, 200_000), outcome=Outcome.OK, late=0.0, **changes):
    sent = scheduled + late
    end = sent + (tokens[-1] / 1e6 if tokens else 1.0)
    fields = {
        "id": "r",
        "stream": Stream.LOAD,
        "scheduled": scheduled,
        "sent": sent,
        "first_byte": None,
        "tokens": tokens,
        "end": end,
        "outcome": outcome,
        "status": 200,
    }
    return RequestRecord(**fields | changes)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 1000))
def test_a_quantile_is_the_least_sample_that_has_its_share_at_or_below_it(values, permille):
    values.sort()
    value = slis.quantile(values, permille / 1000)
    assert value in values
    assert sum(other <= value for other in values) * 1000 >= permille * len(values)
    below = [other for other in values if other < value]
    assert len(below) * 1000 < permille * len(values)


def test_there_is_no_quantile_of_nothing():
    assert slis.quantile([], 0.5) is None


def test_the_users_clock_starts_at_the_schedule():
    late = record(5.0, late=2.0)
    assert slis.samples([late], Latency.TTFT) == [pytest.approx(2.1)]
    assert slis.e2e(late) == pytest.approx(2.2)


def test_a_request_that_hung_counts_as_a_first_token_that_never_came():
    records = [record(), record(tokens=(), outcome=Outcome.HUNG), record(tokens=(), outcome=Outcome.FAILED)]
    assert slis.samples(records, Latency.TTFT) == [pytest.approx(0.1), math.inf]
    assert slis.samples(records, Latency.ITL) == [pytest.approx(0.05)] * 2


def test_time_per_token_counts_tokens_that_shared_a_chunk():
    assert slis.tpot(record()) == pytest.approx(0.05)
    assert slis.tpot(record(wanted_tokens=5, finish_reason="length")) == pytest.approx(0.025)
    assert slis.tpot(record(wanted_tokens=5, finish_reason="stop")) == pytest.approx(0.05)
    assert slis.tpot(record(tokens=(1,))) is None


@pytest.mark.parametrize(
    ("request_", "slo", "good"),
    [
        (record(), SloSpec(), True),
        (record(), SloSpec(ttft="100ms", itl="50ms", e2e="200ms"), True),
        (record(), SloSpec(ttft="90ms"), False),
        (record(), SloSpec(itl="40ms"), False),
        (record(), SloSpec(e2e="190ms"), False),
        (record(late=1.0), SloSpec(ttft="500ms"), False),
        (record(tokens=()), SloSpec(ttft="500ms"), False),
        (record(outcome=Outcome.TRUNCATED), SloSpec(), False),
    ],
    ids=["no bounds", "within", "first token late", "tokens slow", "late", "sent late", "no token", "truncated"],
)
def test_a_good_answer_is_complete_and_within_bounds(request_, slo, good):
    assert slis.good(request_, slo) is good


def test_what_the_end_of_the_run_cut_off_is_neither_good_nor_bad():
    records = [record(), record(outcome=Outcome.HUNG), record(outcome=Outcome.UNKNOWN)]
    assert slis.goodput(records, SloSpec()) == Share(1, 2)
    assert slis.share(records, Outcome.HUNG, Outcome.FAILED) == Share(1, 2)
    assert slis.outcomes(records)[Outcome.UNKNOWN] == 1


def test_no_requests_are_no_share():
    assert slis.goodput([], SloSpec()).value is None


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=6), st.integers(1, 1000))
def test_gaps_that_were_counted_have_the_quantiles_of_all_gaps(gaps, permille):
    records = [record(tokens=tuple(itertools.accumulate(one))) for one in gaps]
    counted = slis.quantile_of_counts(slis.gaps(records), permille / 1000)
    told = slis.quantile(slis.samples(records, slis.Latency.ITL), permille / 1000)
    assert told == (None if counted is None else counted / 1e6)


def test_ten_thousand_records_survive_the_journal():
    records = [record(index / 10, tokens=tuple(range(1000, 49_000, 1000))) for index in range(10_000)]
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Line).decode
    lines = [
        Line(writer="load", seq=seq, boot="b", mono=one.end, wall=0.0, event=one)
        for seq, one in zip(itertools.count(1), records, strict=False)
    ]
    assert [decode(encode(line)).event for line in lines] == records
