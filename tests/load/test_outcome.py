from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.load.heard import EXCERPT, Heard
from drillbook.load.outcome import Ending, judge
from drillbook.load.sse import Event
from drillbook.model.request import Outcome

TOKEN = {"choices": [{"delta": {"content": "hi"}, "finish_reason": None}]}
ROLE = {"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
DONE = "[DONE]"


def finish(reason):
    return {"choices": [{"delta": {"content": ""}, "finish_reason": reason}]}


def error(code, message="EngineCore encountered an issue"):
    return {"error": {"message": message, "type": "InternalServerError", "code": code}}


def streamed(*payloads, status=200):
    heard = Heard()
    heard.status = status
    for payload in payloads:
        heard.event(Event(payload if isinstance(payload, str) else json.dumps(payload)))
    return heard


@pytest.mark.parametrize(
    ("payloads", "ending", "outcome"),
    [
        ([ROLE, TOKEN, finish("length"), USAGE, DONE], Ending.CLOSED, Outcome.OK),
        ([TOKEN, finish("stop"), DONE], Ending.BROKEN, Outcome.OK),
        ([TOKEN, finish("stop"), DONE], Ending.ABANDONED, Outcome.OK),
        ([TOKEN, error(500), DONE], Ending.CLOSED, Outcome.TRUNCATED),
        ([ROLE, error(500), DONE], Ending.CLOSED, Outcome.FAILED),
        ([error(503), DONE], Ending.CLOSED, Outcome.SHED),
        ([error("429"), DONE], Ending.CLOSED, Outcome.SHED),
        ([TOKEN, error(503), DONE], Ending.CLOSED, Outcome.TRUNCATED),
        ([error("rate_limit_exceeded"), DONE], Ending.CLOSED, Outcome.FAILED),
        ([{"error": "boom"}, DONE], Ending.CLOSED, Outcome.FAILED),
        ([{"object": "error", "message": "boom", "code": 503}], Ending.CLOSED, Outcome.SHED),
        ([TOKEN, error(500)], Ending.STALLED, Outcome.TRUNCATED),
        ([TOKEN, DONE], Ending.CLOSED, Outcome.TRUNCATED),
        ([DONE], Ending.CLOSED, Outcome.FAILED),
        ([TOKEN, finish("stop")], Ending.CLOSED, Outcome.TRUNCATED),
        ([TOKEN], Ending.BROKEN, Outcome.TRUNCATED),
        ([ROLE], Ending.BROKEN, Outcome.FAILED),
        ([TOKEN, finish("abort"), DONE], Ending.CLOSED, Outcome.TRUNCATED),
        ([finish("abort"), DONE], Ending.CLOSED, Outcome.FAILED),
        ([finish("stop"), DONE], Ending.CLOSED, Outcome.FAILED),
        ([finish("length"), USAGE, DONE], Ending.CLOSED, Outcome.OK),
        ([finish("content_filter"), DONE], Ending.CLOSED, Outcome.OK),
        ([TOKEN], Ending.STALLED, Outcome.HUNG),
        ([], Ending.STALLED, Outcome.HUNG),
        ([], Ending.OVERDUE, Outcome.HUNG),
        ([TOKEN], Ending.OVERDUE, Outcome.TRUNCATED),
        ([TOKEN], Ending.ABANDONED, Outcome.UNKNOWN),
        (["{not json"], Ending.CLOSED, Outcome.FAILED),
    ],
    ids=[
        "whole", "whole, then reset", "whole, then the run ended", "engine died after tokens",
        "engine died before tokens", "queue limit inside a 200", "code as text", "503 after tokens", "code as a word",
        "error as text", "older error", "error, then nothing", "no finish reason", "nothing but done", "no done",
        "cut after tokens", "cut before tokens", "abort after tokens", "abort before tokens", "empty",
        "invisible tokens", "filtered", "hung after tokens", "hung before tokens", "overdue before tokens",
        "overdue after tokens", "run ended", "not json",
    ],
)  # fmt: skip
def test_a_200_is_what_its_events_say(payloads, ending, outcome):
    assert judge(streamed(*payloads), ending, "the wire's trouble")[0] is outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(400, Outcome.FAILED), (429, Outcome.SHED), (500, Outcome.FAILED), (503, Outcome.SHED), (302, Outcome.FAILED)],
)
def test_a_status_decides_before_the_body(status, outcome):
    heard = Heard()
    heard.status = status
    heard.body(b'{"error": {"message": "because", "code": 500}}')
    assert judge(heard, Ending.CLOSED) == (outcome, "because")


def test_no_answer_at_all_is_a_failure_with_the_transports_own_words():
    assert judge(Heard(), Ending.BROKEN, "connection refused") == (Outcome.FAILED, "connection refused")


@pytest.mark.parametrize(
    ("body", "outcome", "told"),
    [
        (b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "length"}]}', Outcome.OK, ""),
        (b'{"choices": [{"text": "hi", "finish_reason": "stop"}]}', Outcome.OK, ""),
        (b'{"choices": [{"message": {"tool_calls": [{}]}, "finish_reason": "tool_calls"}]}', Outcome.OK, ""),
        (b'{"error": {"message": "dead", "code": 500}}', Outcome.FAILED, "dead"),
        (b'{"error": {"message": "full", "code": 503}}', Outcome.SHED, "full"),
        (b'{"detail": "Not Found"}', Outcome.FAILED, "Not Found"),
        (b"<html>gateway</html>", Outcome.FAILED, "<html>gateway</html>"),
        (b"", Outcome.FAILED, "HTTP 200 without a body"),
        (b"[" * 100_000, Outcome.FAILED, None),
        (b"\xff\xfe", Outcome.FAILED, None),
    ],
    ids=["chat", "completion", "tools", "error", "shed", "detail", "html", "empty", "brackets", "not UTF-8"],
)
def test_a_body_is_judged_by_its_words(body, outcome, told):
    heard = Heard()
    heard.status = 200
    heard.body(body)
    got, why = judge(heard, Ending.CLOSED)
    assert got is outcome
    assert told is None or why == told


def test_the_first_error_is_the_cause():
    heard = streamed(error(500, "first"), error(503, "second"))
    assert (heard.error, heard.code) == ("first", 500)


@given(st.text(), st.sampled_from(["", "error"]), st.sampled_from(list(Ending)))
def test_no_event_can_break_the_reading(data, name, ending):
    heard = Heard()
    heard.status = 200
    heard.event(Event(data, name))
    outcome, why = judge(heard, ending)
    assert outcome is not Outcome.OK
    assert len(why) <= EXCERPT
    assert "\n" not in why


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "message", "choices", "delta", "usage"]), inner)
    ),
    max_leaves=8,
)


@given(json_values)
def test_no_json_can_break_the_reading(value):
    heard = Heard()
    heard.status = 200
    heard.event(Event(json.dumps(value)))
    heard.body(json.dumps(value).encode())
    assert judge(heard, Ending.CLOSED)[0] is not Outcome.OK
