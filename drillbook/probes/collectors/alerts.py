"""Looks at the target's alert rules once a second, and writes down every change; at Alertmanager too, where known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import aiohttp

from drillbook import clock
from drillbook.errors import UnreachableError
from drillbook.model.events import AlertChanged, AlertState, AnyEvent, Observed
from drillbook.probes.names import ALERTS
from drillbook.probes.prometheus.client import TIMEOUT_SECONDS, Prometheus

EVERY = 1.0
"""Seconds between two looks."""
LATE = 3.0
"""A rule that was not evaluated for so many of its intervals (and at least so many seconds more) is not watching."""

Emit = Callable[[AnyEvent], object]
Key = tuple[str, tuple[tuple[str, str], ...]]
Json = dict[str, Any]


class AlertPoller:
    """Polls until it is cancelled."""

    def __init__(self, url: str, skew: float, emit: Emit, alertmanager: str | None = None) -> None:
        self._client, self._skew, self._emit = Prometheus(url), skew, emit
        self._manager = (alertmanager or "").rstrip("/")
        self._known: dict[Key, AlertState] = {}
        self._delivered: set[Key] = set()
        self._looked = clock.monotonic()

    async def run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as http:
            try:
                while True:
                    began = clock.monotonic()
                    await self._look()
                    if self._manager:
                        await self._look_at_manager(http)
                    await asyncio.sleep(max(0.0, EVERY - (clock.monotonic() - began)))
            finally:
                self._client.close()

    async def _look(self) -> None:
        began = clock.monotonic()
        try:
            rules = await self._client.rules()
        except UnreachableError as error:
            self._emit(Observed(probe=ALERTS, value=None, error=error.message, took=clock.monotonic() - began))
            return
        now = clock.monotonic()
        self.take(rules, clock.wall() + self._skew, since=now - self._looked)
        self._looked = now
        firing = sum(state is AlertState.FIRING for state in self._known.values())
        self._emit(Observed(probe=ALERTS, value=float(firing), took=now - began))

    def take(self, rules: Iterable[Json], now: float, *, since: float) -> None:
        """Write down what changed. ``now`` is the server's wall time, ``since`` the seconds since the last look."""
        seen: dict[Key, tuple[AlertState, str]] = {}
        for rule in rules:
            name = str(rule["name"])
            trouble = _trouble(rule, now)
            if trouble or (name, ()) not in seen:  # of two rules of one name the one in trouble tells
                seen[name, ()] = (AlertState.UNKNOWN, trouble) if trouble else (AlertState.INACTIVE, "")
            for alert in rule.get("alerts") or ():
                seen[_key(alert)] = AlertState(alert["state"]), ""
        for name, labels in self._known.keys() - seen.keys():
            gone = (AlertState.INACTIVE, "") if labels else (AlertState.UNKNOWN, "Prometheus has no such rule any more")
            seen[name, labels] = gone
        for key, (state, detail) in seen.items():
            if self._known.get(key) is not state:
                self._known[key] = state
                name, labels = key
                self._emit(AlertChanged(name=name, state=state, labels=dict(labels), detail=detail, took=since))

    async def _look_at_manager(self, http: aiohttp.ClientSession) -> None:
        try:
            async with http.get(f"{self._manager}/api/v2/alerts") as response:
                found: list[Json] = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return  # nothing is judged by it; that it never had an alert is told by its missing line
        current = {_key(alert): alert for alert in found}
        for key in current.keys() - self._delivered:
            name, labels = key
            held = current[key].get("status") or {}
            why = [word for word in ("silencedBy", "inhibitedBy") if held.get(word)]
            detail = f"{' and '.join(word.removesuffix('By') for word in why)} there: nobody was told" if why else ""
            changed = AlertChanged(
                name=name, state=AlertState.FIRING, labels=dict(labels), source="alertmanager", detail=detail
            )
            self._emit(changed)
        self._delivered = set(current)


def _key(alert: Json) -> Key:
    labels = {key: value for key, value in alert["labels"].items() if key != "alertname"}
    return str(alert["labels"].get("alertname", "")), tuple(sorted(labels.items()))


def _trouble(rule: Json, now: float) -> str:
    """Why a rule is watching nothing; empty while it does."""
    if rule.get("health") == "err":
        return str(rule.get("lastError") or "its evaluation fails")
    text = str(rule.get("lastEvaluation") or "")
    try:
        # Go writes nine digits of a second, of which six can be read here
        whole, _, fraction = text.removesuffix("Z").partition(".")
        last = datetime.fromisoformat(f"{whole}.{fraction[:6] or '0'}").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return ""
    if last < 0:
        return ""  # not evaluated yet: Prometheus has only just started
    age = now - last
    return f"it was not evaluated for {age:.0f}s" if age > LATE * float(rule.get("interval") or 60) + LATE else ""
