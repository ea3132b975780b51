"""The gateway's client of the classifier: one check at a time-out, a bound on how many at once, and no verdict told
apart from a good one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
import msgspec

from drillbook import clock
from drillbook.sandbox.guardrail.rules import Judged
from drillbook.sandbox.guardrail.series import GatewaySeries
from drillbook.sandbox.guardrail.settings import GatewaySettings


@dataclass(eq=False)
class NoVerdictError(Exception):
    """The classifier said nothing: ``timeout``, ``unreachable``, ``error`` or ``full``."""

    rail: str
    why: str


class Checker:
    """Asks the classifier. Each check has a connection of its own, so that a Service spreads them over its pods."""

    def __init__(self, settings: GatewaySettings, session: aiohttp.ClientSession, series: GatewaySeries) -> None:
        self._settings, self._session, self._series = settings, session, series
        self._slots = asyncio.Semaphore(settings.max_checks)
        self._url = f"{settings.classifier.rstrip('/')}/v1/check"

    async def check(self, rail: str, text: str, secret: str = "") -> Judged:
        """The classifier's verdict.

        :raises NoVerdictError: it gave none.
        """
        began = clock.monotonic()
        try:
            judged = await self._ask(rail, text, secret)
        except NoVerdictError as error:
            self._series.checked(rail, error.why, clock.monotonic() - began)
            raise
        self._series.checked(rail, "blocked" if judged.flagged else "passed", clock.monotonic() - began)
        return judged

    async def _ask(self, rail: str, text: str, secret: str) -> Judged:
        if self._settings.when_full == "shed" and self._slots.locked():
            raise NoVerdictError(rail, "full")
        body = {"rail": rail, "text": text, "secret": secret}
        try:
            async with asyncio.timeout(self._settings.check_timeout), self._slots:
                self._series.checking.add()
                try:
                    async with self._session.post(self._url, json=body, headers={"Connection": "close"}) as answer:
                        if answer.status != 200:
                            raise NoVerdictError(rail, "error")
                        return msgspec.json.decode(await answer.read(), type=Judged)
                finally:
                    self._series.checking.add(-1)
        except TimeoutError:
            raise NoVerdictError(rail, "timeout") from None
        except (aiohttp.ClientError, OSError):
            raise NoVerdictError(rail, "unreachable") from None
        except msgspec.MsgspecError:
            raise NoVerdictError(rail, "error") from None
