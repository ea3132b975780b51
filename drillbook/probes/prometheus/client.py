"""One Prometheus, asked through ``prometheus-api-client`` (extra ``[prometheus]``), each question in a thread.

What it answers is told as it is: no value, several values, NaN and partial data are no figures.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from drillbook import clock
from drillbook.errors import PreflightError, UnreachableError
from drillbook.targets.monitoring import TOKEN

TIMEOUT_SECONDS = 3.0
"""How long one answer may take."""
MOST_STEPS = 10_000
"""Values of one range; Prometheus refuses more than 11,000."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One value, or why there is none."""

    value: float | None
    error: str = ""
    empty: bool = False
    """Prometheus had no data: it may come yet."""


class Prometheus:
    """Asks one question at a time. ``close`` when done.

    Raises:
        PreflightError: the extra is not installed.

    """

    def __init__(self, url: str) -> None:
        try:
            from prometheus_api_client import PrometheusConnect
            from requests import Session
            from urllib3.util.retry import Retry
        except ImportError as error:
            raise PreflightError(
                "asking Prometheus needs prometheus-api-client", "pip install 'drillbook[prometheus]'"
            ) from error
        self.url = url.rstrip("/")
        self._session = Session()
        self._session.trust_env = not _is_private(url)  # a proxy of the environment is not for this network
        if token := os.environ.get(TOKEN):
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.hooks["response"].append(self._keep)
        self._connect = PrometheusConnect(self.url, session=self._session, retry=Retry(0), timeout=TIMEOUT_SECONDS)
        self._body: Json = {}
        self._turn = asyncio.Lock()

    def close(self) -> None:
        self._session.close()

    def _keep(self, response: Any, *_: Any, **__: Any) -> None:
        """The library hands on results alone; errors and warnings stand beside them."""
        try:
            body = response.json()
        except ValueError:
            body = {"error": f"HTTP {response.status_code}, and no JSON"}
        self._body = body if isinstance(body, dict) else {}

    async def value(self, promql: str) -> Answer:
        """What a query gives now."""
        result, error = await self._ask(lambda: self._connect.custom_query(promql))
        return Answer(None, error) if error else _one(result)

    async def series(self, promql: str, start: float, end: float, step: float) -> tuple[list[float | None], str]:
        """A query over a range of the server's own time: a value for each step, None where there is none."""
        count = math.floor((end - start) / step + 1e-9) + 1
        bounds = {"start": f"{start:.3f}", "end": f"{end:.3f}"}
        first, last = (datetime.fromtimestamp(moment, UTC) for moment in (start, end))
        result, error = await self._ask(
            lambda: self._connect.custom_query_range(promql, first, last, f"{step:g}", params=bounds)
        )
        if error or not result:
            return [], error or "no data"
        if len(result) > 1:
            return [], _several(len(result))
        values: list[float | None] = [None] * count
        for moment, text in result[0]["values"]:
            place, number = round((float(moment) - start) / step), float(text)
            if 0 <= place < count and math.isfinite(number):
                values[place] = number
        return values, ""

    async def skew(self) -> float:
        """Seconds that the server's clock is ahead of this machine's."""
        asked = clock.wall()
        answer = await self.value("time()")
        if answer.value is None:
            raise UnreachableError(f"Prometheus at {self.url} does not answer a query: {answer.error}")
        return answer.value - (asked + clock.wall()) / 2

    async def metrics(self) -> list[str]:
        """The names of all its metrics. Raises UnreachableError."""
        return [str(name) for name in await self._asked(lambda: self._connect.all_metrics())]

    async def labels(self, selector: str) -> list[str]:
        """The names of the labels that the series of a selector have. Raises UnreachableError."""
        found = await self._asked(lambda: self._connect.get_label_names(params={"match[]": selector}))
        return [str(name) for name in found]

    async def rules(self) -> list[Json]:
        """Its alert rules, each with its state, health and alerts. Raises UnreachableError."""

        def get() -> Any:
            answer = self._session.get(f"{self.url}/api/v1/rules", params={"type": "alert"}, timeout=TIMEOUT_SECONDS)
            answer.raise_for_status()
            return answer.json()["data"]["groups"]

        groups = await self._asked(get)
        return [
            {"interval": group.get("interval", 60), **rule}
            for group in groups
            for rule in group["rules"]
            if rule.get("type") == "alerting"
        ]

    async def _asked(self, question: Any) -> Any:
        result, error = await self._ask(question)
        if error:
            raise UnreachableError(f"Prometheus at {self.url} does not answer: {error}")
        return result

    async def _ask(self, question: Any) -> tuple[Any, str]:
        """The result, or what is wrong with it."""
        from prometheus_api_client import PrometheusApiClientException
        from requests import RequestException

        async with self._turn:
            self._body = {}
            try:
                result = await asyncio.to_thread(question)
            except PrometheusApiClientException as error:
                return None, str(self._body.get("error") or error)
            except RequestException as error:
                return None, str(self._body.get("error") or "") or _reason(error)
            except (KeyError, TypeError, ValueError):
                return None, "its answer is none of Prometheus"
            warnings = self._body.get("warnings")
        return (None, f"the data is not whole: {'; '.join(map(str, warnings))}") if warnings else (result, "")


def _reason(error: Exception) -> str:
    inner = error.__context__ or error
    return f"no answer within {TIMEOUT_SECONDS:g}s" if "timed out" in str(error).lower() else str(inner)[-200:]


def _one(result: Sequence[Any]) -> Answer:
    """The one value of a scalar or of a vector of one series."""
    if not result:
        return Answer(None, "no data", empty=True)
    scalar = not isinstance(result[0], dict)
    if not scalar and len(result) > 1:
        return Answer(None, _several(len(result)))
    pair = result if scalar else result[0].get("value")
    if pair is None:
        return Answer(None, "it gives a range; wrap it in rate(...) or avg_over_time(...)")
    try:
        number = float(pair[1])
    except ValueError:
        return Answer(None, f"it gives {json.dumps(pair[1])}, and a number is wanted")
    return Answer(number) if math.isfinite(number) else Answer(None, f"it gives {pair[1]}")


def _several(count: int) -> str:
    return f"it gives {count} series, and one value is wanted: wrap it in sum(...) or max(...)"


def _is_private(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".svc", ".cluster.local"))
