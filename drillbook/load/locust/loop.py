"""The open loop as a Locust user: one user that sends each arrival at its own time, each in a greenlet of its own.

A usual Locust user waits for its answer before it goes on, so that a server that stalls is asked less. This one keeps
the same timetable as ``drillbook.load.generator``, and tells its lag in the same way. It lives in a thread of its own,
because gevent and asyncio each want to own theirs; nothing is monkey-patched.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gevent
from gevent.event import Event

from drillbook import clock
from drillbook.load import schedule
from drillbook.load.client import Client, Prompt
from drillbook.load.generator import LOOK, PULSE, TICK
from drillbook.load.locust import statistics
from drillbook.load.locust.config import SATURATED, LocustConfig
from drillbook.load.locust.exchange import GreenExchange
from drillbook.load.tally import Tally
from drillbook.model.events import LoadTicked, Noted
from drillbook.model.request import RequestRecord

Emit = Callable[[RequestRecord | LoadTicked | Noted], None]


class LocustLoop:
    """Runs one schedule in a Locust user and emits records as they end, and a tick each second.

    ``opening`` gives the words to begin with, once it is known when the load begins (monotonic seconds).
    """

    def __init__(
        self,
        config: LocustConfig,
        client: Client,
        prompts: Sequence[Prompt],
        emit: Emit,
        opening: Callable[[float], str],
    ) -> None:
        self._config = config
        self._client = client
        self._prompts = prompts
        self._opening = opening
        self._table = schedule.Timetable(config.rate, config.arrivals, config.seed)
        self._sessions = schedule.sessions(config.sessions, config.seed)
        self._start = 0.0
        self._orders: deque[Callable[[], None]] = deque()
        """What the other thread wants; looked at in every pulse."""
        self._asyncio = asyncio.get_running_loop()
        self._write = emit
        self._tally: Tally[gevent.Greenlet] = Tally(config, self._emit)
        self._fault: BaseException | None = None

    async def run(self) -> None:
        """Send arrivals until ``stop``, then see off what is in flight.

        Raises:
            Exception: a bug of ours; a request's own misfortune is its record.

        """
        await asyncio.to_thread(self._live)

    def stop(self, drain: float) -> None:
        """No more arrivals; what is in flight ``drain`` seconds from now is given up as ``unknown``."""
        self._orders.append(partial(self._stop, drain))

    def pace(self, at: float, rate: float) -> None:
        """From ``at`` (monotonic seconds) on, ``rate`` arrivals a second."""
        self._orders.append(lambda: self._table.change(at - self._start, rate))

    def _emit(self, event: RequestRecord | LoadTicked | Noted) -> None:
        self._asyncio.call_soon_threadsafe(self._write, event)

    # -- all that follows happens in gevent's thread

    def _live(self) -> None:
        from locust.env import Environment  # Locust patches what it can where it is imported: only in its own process
        from locust.event import Events

        self._stopped = Event()
        beats = [gevent.spawn(self._pulse), gevent.spawn(self._tick)]
        environment = Environment(user_classes=[_user(self)], host=self._config.base_url, events=Events())
        environment.events.cpu_warning.add_listener(self._saturated)
        environment.events.user_error.add_listener(self._broke)
        self._request = environment.events.request
        if self._config.master:
            runner = environment.create_worker_runner(self._config.host, self._config.master)
        else:
            runner = environment.create_local_runner()
            runner.start(1, spawn_rate=1)
        self._stopped.wait()
        while self._tally.in_flight:
            gevent.wait(list(self._tally.in_flight))
            gevent.sleep(0)  # their links have run by then
        gevent.killall(beats)
        self._tally.tick()
        self._farewell(runner)
        gevent.get_hub().destroy(destroy_loop=True)
        if self._fault is not None:
            raise self._fault

    def _farewell(self, runner: Any) -> None:
        if self._config.master:
            # its last report, which it would send by itself only when its master tells it to quit
            runner.environment.events.report_to_master.add_listener(lambda data, **_: data.update(last=True))
            runner._send_stats()  # noqa: SLF001 - Locust has no other way to send it now
            runner.greenlet.kill()  # first: it would go on reading from what is closed
            runner.client.close(linger=1000)
        else:
            self._emit(Noted(actor=self._config.writer, text=statistics.told(runner.stats)))
            runner.greenlet.kill()

    def send(self, user: Any) -> None:
        """Send all arrivals, as the one task of the one user."""
        self._start = start = max(self._config.start or 0.0, clock.monotonic())
        self._emit(Noted(actor=self._config.writer, text=self._opening(start)))
        pool = user.client.client.clientpool
        for number, pick in enumerate(schedule.choices(len(self._prompts), self._config.seed)):
            gevent.sleep(0)  # behind schedule this lets what was sent get on the wire before the next one
            while (wait := start + self._table.due - clock.monotonic()) > 0:
                if self._stopped.wait(min(wait, LOOK)):
                    break
            if self._stopped.is_set():
                return
            self._arrive(number, start + self._table.due, self._prompts[pick], pool)
            self._table.step()

    def _arrive(self, number: int, due: float, prompt: Prompt, pool: Any) -> None:
        exchange = GreenExchange(
            self._client.order(
                prompt,
                scheduled=due,
                request_id=f"{self._config.writer}-{number}",
                output_tokens=self._config.output_tokens,
                session=next(self._sessions),
            )
        )
        if self._tally.full:
            self._tally.forgo(exchange)
            return
        greenlet = gevent.Greenlet(self._follow, exchange, pool)
        self._tally.began(greenlet, exchange)
        greenlet.link(self._ended)
        greenlet.start()

    def _follow(self, exchange: GreenExchange, pool: Any) -> None:
        self._tally.lagged(clock.monotonic() - exchange.order.scheduled)
        exchange.perform(pool)

    def _ended(self, greenlet: gevent.Greenlet) -> None:
        """Also of one that was given up before it began."""
        exchange = self._tally.ended(greenlet, greenlet.exception)
        statistics.count(self._request, exchange)
        if greenlet.exception is not None:
            self._broke(greenlet.exception)

    def _broke(self, exception: BaseException, **_: Any) -> None:
        self._fault = self._fault or exception
        self._stop(0.0)

    def _stop(self, drain: float) -> None:
        self._stopped.set()
        gevent.spawn_later(drain, self._give_up)

    def _give_up(self) -> None:
        for greenlet, exchange in list(self._tally.in_flight.items()):
            exchange.abandon("given up: the run ended")
            greenlet.kill(block=False)

    def _tick(self) -> None:
        due = clock.monotonic() + TICK
        while True:
            gevent.sleep(max(0.0, due - clock.monotonic()))
            due += TICK
            if self._start:
                self._tally.tick()

    def _pulse(self) -> None:
        due = clock.monotonic() + PULSE
        while True:
            gevent.sleep(max(0.0, due - clock.monotonic()))
            now = clock.monotonic()
            if self._start:
                self._tally.lagged(now - due)
            due = max(due, now - PULSE) + PULSE  # after a long block go on from now; the block has been told once
            while self._orders:
                self._orders.popleft()()

    def _saturated(self, cpu_usage: float, **_: Any) -> None:
        text = f"{SATURATED}: {self._config.writer} used {cpu_usage:.0f}% of a core, of which 90% is Locust's limit"
        self._emit(Noted(actor=self._config.writer, text=text))


def _user(load: LocustLoop) -> Any:
    """The class of the user that sends ``load``; Locust makes its users by itself, and each class needs a name."""
    from locust import FastHttpUser, task
    from locust.exception import StopUser

    config = load._config  # noqa: SLF001 - the two are one

    class Arrivals(FastHttpUser):  # type: ignore[misc]  # Locust is not where the types are checked
        concurrency = config.max_in_flight
        insecure = False
        network_timeout = connection_timeout = config.timeout + config.connect  # our own patience ends first

        @task  # type: ignore[untyped-decorator]
        def send(self) -> None:
            load.send(self)
            raise StopUser

    return Arrivals
