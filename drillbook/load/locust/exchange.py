"""One request over the connections of a Locust user: heard, timed and judged as every other, but read by gevent."""

from __future__ import annotations

from http.client import HTTPException

import gevent
from geventhttpclient.client import HTTPClientPool
from geventhttpclient.response import HTTPSocketResponse

from drillbook import clock
from drillbook.load import sse
from drillbook.load.exchange import BODY_LIMIT, LINGER, Exchange
from drillbook.load.outcome import Ending


class OutOfPatienceError(Exception):
    """Thrown into a request that shows no progress for too long."""


class GreenExchange(Exchange):
    """Sends one order and listens, in a greenlet. ``record`` can be asked for at any time."""

    def perform(self, pool: HTTPClientPool) -> None:
        """Send and listen to the end. Never raises for what the server or the network does: that is the record."""
        self.sent = self.last_progress = clock.monotonic()
        waiting = _Patience(self)
        url = str(self.order.url)
        try:
            response = pool.get_client(url).request(
                "POST", self.order.url.raw_path_qs, body=self.order.body, headers=self.order.headers
            )
            try:
                self._begin(response.get_code(), response.items())
                if self.headers.get("content-type", "").partition(";")[0].strip() == "text/event-stream":
                    self._hear_out(response, waiting)
                else:
                    self._read_whole(response)
            finally:
                response.release()  # closes it, or keeps it for another request where the answer was read whole
            self._ending = Ending.CLOSED
        except OutOfPatienceError:
            self._out_of_patience()
        except ConnectionRefusedError as error:
            self._broken(OSError(f"cannot connect to {self._host}: {error.strerror}"), reused=False)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: not SSE, not a URL
            self._broken(error, reused=False)
        finally:
            waiting.end()
        if self._end is None:
            self._end = clock.monotonic()

    @property
    def _host(self) -> str:
        return f"{self.order.url.host}:{self.order.url.port}"

    def _hear_out(self, response: HTTPSocketResponse, waiting: _Patience) -> None:
        parser = sse.Parser()
        while not self.heard.done:
            chunk = _piece(response)
            now = clock.monotonic()
            self._hear(parser, chunk, now)
            if not chunk:
                return
        self._end = now
        waiting.end()
        with gevent.Timeout(LINGER, False):  # for the body's proper end; the answer is whole without it
            while _piece(response):
                pass

    def _read_whole(self, response: HTTPSocketResponse) -> None:
        body = bytearray()
        while piece := _piece(response):
            body += piece
            if len(body) > BODY_LIMIT:
                raise ValueError(f"the answer is larger than {BODY_LIMIT:,} bytes")
        self._take(bytes(body))
        self._end = clock.monotonic()


class _Patience:
    """Ends an exchange when its patience is due, else looks again then: cheaper than a new timer for every token."""

    def __init__(self, exchange: GreenExchange) -> None:
        self._exchange = exchange
        self._greenlet = gevent.getcurrent()
        self._hub = gevent.get_hub()
        self._ended = False
        self._wait()

    def end(self) -> None:
        self._ended = True
        self._timer.close()

    def _wait(self) -> None:
        self._timer = self._hub.loop.timer(max(0.0, self._exchange.patience))
        self._timer.start(self._look)

    def _look(self) -> None:
        self._timer.close()
        if self._ended:
            return
        if self._exchange.patience > 0:
            self._wait()
        else:
            self._greenlet.kill(OutOfPatienceError(), block=False)


def _piece(response: HTTPSocketResponse) -> bytes:
    """What has come of the body, as soon as anything has; empty at its end.

    The library's own ``read`` waits until a given number of bytes is there, which holds tokens back.
    """
    buffer = response._body_buffer  # noqa: SLF001 - see above
    while not buffer and not response.message_complete:
        response.feed(response._sock.recv(response.block_size))  # noqa: SLF001 - see above
    return bytes(response.read(len(buffer)))
