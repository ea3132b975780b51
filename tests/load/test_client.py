from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from drillbook import clock
from drillbook.errors import UsageError
from drillbook.load.client import Client
from drillbook.model.request import Outcome, Stream


def by(*steps):
    """A script that takes the steps one after the other."""

    async def script(reply):
        for step in steps:
            result = step(reply)
            if asyncio.iscoroutine(result):
                await result

    return script


async def test_a_whole_stream_is_ok_with_a_time_for_each_token(server, client):
    server.script = by(lambda reply: reply.tokens(5, gap=0.02), lambda reply: reply.finish())
    before = clock.monotonic()
    record = await client.send("hello", output_tokens=5, request_id="r1", scheduled=before - 1)
    assert (record.id, record.outcome, record.status, record.error) == ("r1", Outcome.OK, 200, "")
    assert (record.finish_reason, record.wanted_tokens, record.prompt_tokens) == ("length", 5, 7)
    assert len(record.tokens) == 5
    assert len(record.inter_token) == 4
    assert min(record.inter_token) >= 0
    assert 1.02 < record.ttft < 10  # from the schedule, not from the send
    assert record.last_progress - record.sent > 0.09  # five gaps: a late reader meets them bunched, never early
    assert before <= record.sent <= record.first_byte <= record.last_progress <= record.end <= clock.monotonic()


async def test_the_request_says_what_it_wants(server, client):
    await client.send("hello", output_tokens=3, request_id="r1", extra={"temperature": 0.5, "ignore_eos": None})
    assert server.seen[0] == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 3,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert server.seen_headers[0]["x-request-id"] == "r1"


async def test_completions_take_messages_as_one_prompt(server):
    async with Client(server.url + "/v1/", "tiny", api="completions") as client:
        await client.send([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])
    assert server.seen[0]["prompt"] == "be brief\n\nhi"
    assert server.seen[0]["ignore_eos"] is True


async def test_an_answer_that_is_no_stream_has_one_content_chunk(server):
    async with Client(server.url, "tiny", stream=False) as client:
        record = await client.send("hello", output_tokens=5)
    assert (record.outcome, record.finish_reason, record.prompt_tokens) == (Outcome.OK, "length", 7)
    assert len(record.tokens) == 1
    assert "stream_options" not in server.seen[0]


ENGINE_DIED = {"error": {"message": "EngineCore encountered\nan issue", "code": 500}}


@pytest.mark.parametrize(
    ("steps", "outcome", "error"),
    [
        ([lambda r: r.tokens(2), lambda r: r.event(ENGINE_DIED), lambda r: r.event(b"[DONE]")],
         Outcome.TRUNCATED, "EngineCore encountered an issue"),
        ([lambda r: r.event(ENGINE_DIED), lambda r: r.event(b"[DONE]")],
         Outcome.FAILED, "EngineCore encountered an issue"),
        ([lambda r: r.event({"error": {"message": "full", "code": 503}}), lambda r: r.event(b"[DONE]")],
         Outcome.SHED, "full"),
        ([lambda r: r.raw(b"event: error\ndata: broken\n\n")], Outcome.FAILED, "broken"),
        ([lambda r: r.tokens(2), lambda r: r.cut()], Outcome.TRUNCATED, None),
        ([lambda r: r.raw(b": hello\n\n"), lambda r: r.cut()], Outcome.FAILED, None),
        ([lambda r: r.cut()], Outcome.FAILED, None),
        ([lambda r: r.tokens(2)], Outcome.TRUNCATED, "the stream ended without [DONE]"),
        ([lambda r: r.tokens(2), lambda r: r.finish(reason=None)],
         Outcome.TRUNCATED, "the answer ended without a finish reason"),
        ([lambda r: r.tokens(2), lambda r: r.finish(done=False)], Outcome.TRUNCATED, "the stream ended without [DONE]"),
        ([lambda r: r.tokens(2), lambda r: r.finish(), lambda r: r.cut()], Outcome.OK, ""),
        ([lambda r: r.tokens(2), lambda r: r.finish(done=False), lambda r: r.raw(b"data: [DONE]")], Outcome.OK, ""),
        ([lambda r: r.forever()], Outcome.HUNG, "nothing came for 1s, after 0 content chunks"),
        ([lambda r: r.tokens(2), lambda r: r.forever()],
         Outcome.HUNG, "nothing came for 1s, after 2 content chunks"),
        ([lambda r: r.raw(b"data: " + b"x" * 2_000_000)],
         Outcome.FAILED, "an event of the stream is larger than 1,048,576 bytes"),
        ([lambda r: r.event(b"what?")],
         Outcome.FAILED, "an event of the stream is not a completion chunk: what?"),
    ],
    ids=[
        "error after tokens", "error before tokens", "shed inside a 200", "named error event", "reset after tokens",
        "reset after a comment", "reset at once", "no end", "no finish reason", "no done", "reset after done",
        "done without newline", "hung at once", "hung after tokens", "endless event", "not json",
    ],
)  # fmt: skip
async def test_a_stream_that_fails_inside_a_200_is_seen(server, client, impatient, steps, outcome, error):
    server.script = by(*steps)
    record = await (impatient if outcome is Outcome.HUNG else client).send("hello", output_tokens=5)
    assert record.outcome is outcome
    assert record.error == error if error is not None else record.error


async def test_pings_do_not_put_off_the_stall_timeout(server, impatient):
    async def pings(reply):
        while True:
            await reply.raw(b": ping\n\n")
            await asyncio.sleep(0.05)

    server.script = pings
    started = clock.monotonic()
    record = await impatient.send("hello")
    assert record.outcome is Outcome.HUNG
    assert 1 <= clock.monotonic() - started < 50  # well before the time-out of the whole request


async def test_a_stream_that_moves_is_not_hung_however_long_it_takes(server, impatient):
    server.script = by(lambda reply: reply.tokens(8, gap=0.2), lambda reply: reply.finish())
    assert (await impatient.send("hello", output_tokens=8)).outcome is Outcome.OK


async def test_the_total_timeout_cuts_a_stream_that_never_ends(server):
    server.script = by(lambda reply: reply.tokens(1000, gap=0.02))
    async with Client(server.url, "tiny", stall_timeout=30, timeout=1) as client:
        record = await client.send("hello")
    assert (record.outcome, record.error) == (Outcome.TRUNCATED, "not complete after 1s")


@pytest.mark.parametrize(
    ("status", "body", "outcome", "error"),
    [
        (500, '{"error": {"message": "EngineCore died", "code": 500}}', Outcome.FAILED, "EngineCore died"),
        (503, "upstream is away", Outcome.SHED, "upstream is away"),
        (429, "", Outcome.SHED, "HTTP 429 without a body"),
        (404, '{"detail": "Not Found"}', Outcome.FAILED, "Not Found"),
    ],
)
async def test_a_status_is_an_outcome(server, client, status, body, outcome, error):
    async def script(reply):
        return web.Response(status=status, text=body)

    server.script = script
    record = await client.send("hello")
    assert (record.outcome, record.status, record.error) == (outcome, status, error)


async def test_redirects_are_not_followed_because_headers_may_be_secret(server, client):
    async def script(reply):
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:1/elsewhere")

    server.script = script
    record = await client.send("hello")
    assert (record.outcome, record.status) == (Outcome.FAILED, 307)
    assert record.error == "HTTP 307: redirected to http://127.0.0.1:1/elsewhere"


async def test_a_refused_connection_is_a_failure_without_a_status():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with Client(f"http://127.0.0.1:{unused.getsockname()[1]}", "tiny") as client:
            record = await client.send("hello")
    assert (record.outcome, record.status, record.first_byte) == (Outcome.FAILED, None, None)
    assert record.error.startswith("cannot connect to 127.0.0.1:")
    assert record.error.endswith(": Connection refused")


async def test_what_is_not_http_is_a_failure():
    async def babble(reader, writer):
        await reader.read(10)
        writer.write(b"SSH-2.0-what\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, Client(f"http://127.0.0.1:{port}", "tiny") as client:
        record = await client.send("hello")
    assert record.outcome is Outcome.FAILED
    assert "\n" not in record.error


async def test_connections_are_kept_alive_and_a_stale_one_is_told_not_retried(server, client):
    await client.send("hello")
    await client.send("hello")
    assert len(server.connections) == 1
    server.script = by(lambda reply: reply.cut())
    record = await client.send("hello")
    assert record.outcome is Outcome.FAILED
    assert record.error.endswith("(on a kept-alive connection)")
    assert len(server.seen) == 3


async def test_the_replica_is_read_off_the_engines_header(server, client):
    server.headers = {"X-Inference-Pod": "engine-2"}
    assert (await client.send("hello")).replica == "engine-2"
    server.headers = {}
    assert (await client.send("hello")).replica is None


async def test_an_answer_brings_the_words_headers_and_events(server, client):
    answer = await client.ask("hello", output_tokens=3, stream_kind=Stream.ATTACK)
    assert answer.text == "w0 w1 w2 "
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.events[-1].data == "[DONE]"
    assert answer.record.stream is Stream.ATTACK


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://host:port"])
async def test_a_wrong_address_is_told_kindly(url):
    with pytest.raises(UsageError, match="is not the address of a server"):
        Client(url, "tiny")


async def test_a_cancelled_send_is_cancelled(server, client):
    server.script = by(lambda reply: reply.forever())
    task = asyncio.create_task(client.send("hello"))
    while not server.seen:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
