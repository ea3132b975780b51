"""The classifier behind the gateway: ``POST /v1/check`` says whether a text is flagged, and by which rule.

``{"rail": "input" | "output", "text": "…", "secret": "…"}`` gets ``{"flagged": true, "rule": "injection"}``.
It is a reference, not protection. As with a model on one accelerator, few checks run at once and the others queue.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import sys
import threading

import msgspec
from aiohttp import web
from setproctitle import setproctitle

from drillbook.sandbox.guardrail.rules import judge
from drillbook.sandbox.guardrail.series import ClassifierSeries
from drillbook.sandbox.guardrail.settings import ClassifierSettings
from drillbook.sandbox.node.namespaces import die_with_parent

TITLE = "guardrail-worker"
"""The title of the process that judges; a fault finds it by this."""


class Check(msgspec.Struct, frozen=True):
    """What is asked."""

    rail: str
    text: str
    secret: str = ""


class Classifier:
    """Answers checks, at most ``concurrent`` at once, each for ``latency`` seconds at least."""

    def __init__(self, settings: ClassifierSettings) -> None:
        self._settings = settings
        self._turns = asyncio.Semaphore(settings.concurrent)
        self._series = ClassifierSeries()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/check", self._check)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _check(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=Check)
        except msgspec.MsgspecError as error:
            return web.json_response({"detail": str(error)}, status=422)
        async with self._turns:
            await asyncio.sleep(self._settings.latency)
            judged = judge(asked.rail, asked.text, asked.secret)
        self._series.judged(asked.rail, judged.flagged)
        return web.json_response({"flagged": judged.flagged, "rule": judged.rule})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "note": "a reference for drills, not protection"})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self._series.text())


def serve(settings: ClassifierSettings) -> int:
    """Judge in a process of its own below this one, as model servers do, until it ends; returns the exit code.

    A container's first process is shielded from signals sent inside it: the one that judges can be stopped, or killed.
    """
    worker = multiprocessing.get_context("fork").Process(target=_work, args=(settings,), daemon=True)
    worker.start()
    told = threading.Event()

    def end(*_: object) -> None:
        told.set()
        worker.kill()  # it may be stopped, and a check that is lost is asked again

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    worker.join()
    return 0 if told.is_set() else 1


def _work(settings: ClassifierSettings) -> None:
    if sys.platform == "linux":
        die_with_parent()
    setproctitle(TITLE)
    app = Classifier(settings).app()

    async def load(_: web.Application) -> None:
        await asyncio.sleep(settings.load)

    app.on_startup.append(load)
    web.run_app(app, host=settings.host, port=settings.port, print=None, access_log=None)
