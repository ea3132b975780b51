from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.load.sse import Event, Parser, SseError


def parse(stream: bytes, cuts: list[int] | None = None, **options) -> list[Event]:
    parser = Parser(**options)
    edges = [0, *sorted(cuts or []), len(stream)]
    events = []
    for start, end in itertools.pairwise(edges):
        events += parser.feed(stream[start:end])
    return events


def cut_streams(streams):
    return streams.flatmap(
        lambda stream: st.tuples(st.just(stream), st.lists(st.integers(0, len(stream)), max_size=12))
    )


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event("a")]),
        (b"data:a\r\n\r\n", [Event("a")]),
        (b"data: a\r\r", [Event("a")]),
        (b"data: a\ndata: b\n\n", [Event("a\nb")]),
        (b"data\n\n", [Event("")]),
        (b": ping\n\ndata: a\n\n", [Event("a")]),
        (b"event: error\ndata: {}\n\ndata: b\n\n", [Event("{}", "error"), Event("b")]),
        (b"event: lonely\n\ndata: b\n\n", [Event("b")]),
        (b"id: 7\nretry: 10\ndata:  a\n\n", [Event(" a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
        (b"data: \xff\n\n", [Event("\ufffd")]),
        (b"data: a\n", []),
        (b"", []),
    ],
    ids=[
        "LF", "CRLF", "CR", "several data lines", "data without colon", "comment", "named", "name without data",
        "id and retry", "byte-order mark", "not UTF-8", "no blank line", "nothing",
    ],
)  # fmt: skip
def test_streams_are_read_by_the_standards_rules(stream, events):
    assert parse(stream) == events


texts = st.text(st.characters(blacklist_characters="\r\n\ufeff", blacklist_categories=["Cs"]), max_size=30)


@given(st.lists(st.lists(texts, min_size=1, max_size=3), max_size=5), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_what_is_written_as_events_is_read_as_those_events_however_it_is_cut(written, end, data):
    stream = "".join("".join(f"data: {line}{end}" for line in lines) + end for lines in written).encode()
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    assert parse(stream, cuts) == [Event("\n".join(lines)) for lines in written]


@given(
    cut_streams(
        st.lists(st.sampled_from([b"data: x", b"data:", b"event: e", b":", b"\r", b"\n", b"\xef\xbb\xbf"])).map(
            b"".join
        )
    )
)
def test_the_cuts_of_the_network_change_nothing(case):
    stream, cuts = case
    assert parse(stream, cuts) == parse(stream) == parse(stream, list(range(len(stream))))


@given(cut_streams(st.binary(max_size=60)))
def test_the_size_bound_does_not_depend_on_the_cuts_either(case):
    stream, cuts = case

    def outcome(edges):
        try:
            return parse(stream, edges, limit=20)
        except SseError:
            return "too large"

    assert outcome(cuts) == outcome(list(range(len(stream))))


def test_an_endless_event_is_an_error_and_not_an_end_of_memory():
    parser = Parser(limit=1000)
    with pytest.raises(SseError, match="larger than 1,000 bytes"):
        list(map(parser.feed, itertools.repeat(b"data: " + b"x" * 50, 100)))


def test_a_last_event_without_its_blank_line_can_be_asked_for():
    parser = Parser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.finish() == Event("[DONE]")
    assert parser.finish() is None
