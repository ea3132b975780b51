"""``link``: throttle, delay, lose or drop what goes between a pod and its peers, by a schedule, and measure it.

Arguments: ``pod`` (uid; empty in an ephemeral container, which is in the pod's network already), ``peers`` (addresses),
``spared`` (ports that are left alone), ``steps`` (``[[seconds, setting], …]``, the first at 0: ``shaping.Setting``),
``measure`` (the peers whose links it measures).

Beside what every helper tells, a line for each change, ``{"link": {"at": seconds, "step": n, "set": "cut"}}``, and for
each measurement, ``{"measured": {"at": …, "step": n, "peer": …, "rate": …, "lost": …, "round_trip": …}}``; ``step`` is
-1 before the first and after the last. Times are seconds after the first step.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from typing import Any

from drillbook import clock
from drillbook.errors import DrillbookError, RefusedError, UnsupportedError
from drillbook.helper import echo, shaping, traffic, victim
from drillbook.helper.shaping import Setting

EVERY = 5.0
"""Seconds between two measurements of one state."""
SETTLED = 1.0
"""Seconds after a change before it is measured: what was in the queues is gone then."""


class LinkProgram:
    """See the module."""

    held = True

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._pod = str(arguments["pod"])
        self._peers = tuple(map(str, arguments["peers"]))
        self._spared = tuple(map(int, arguments["spared"]))
        self._measured = tuple(map(str, arguments["measure"]))
        try:
            self._steps = [(float(at), Setting.of(setting)) for at, setting in arguments["steps"]]
        except ValueError as error:
            raise UnsupportedError(f"this cannot be done to a link: {error}") from error
        self._over = threading.Event()
        self._setting = threading.Lock()
        """Held while rules change, so that nothing is set once clearing has begun."""
        self._thread: threading.Thread | None = None
        self._began = 0.0

    def apply(self) -> dict[str, Any]:
        with self._inside():
            devices = self._devices()
            for device in set(devices.values()):
                traffic.check(device)
            before = self._measure(-1)
            self._began = clock.monotonic()
            self._set(None, self._steps[0][1], 0)
        self._thread = threading.Thread(target=self._hold, name="link", daemon=True)
        self._thread.start()
        return {"set": str(self._steps[0][1]), "devices": devices, "before": before}

    def clear(self) -> dict[str, Any]:
        self._over.set()
        try:
            with self._setting, self._inside():
                removed = traffic.clear()
                if left := traffic.ours():
                    raise RefusedError(f"still there: {', '.join(left)}")
                # Whoever looks from outside also measures; a helper that ends has told enough, and is waited for.
                after = self._measure(-1) if self._thread is None else []
        except victim.GoneError as gone:
            return {"gone": gone.message}
        return {"removed": removed, "after": after}

    def _inside(self) -> contextlib.AbstractContextManager[None]:
        return victim.network(self._pod) if self._pod else contextlib.nullcontext()

    def _hold(self) -> None:
        """Carry out the schedule, in a thread of its own that is in the pod's network all the time."""
        try:
            self._keep_to_the_steps()
        except victim.GoneError:
            return
        except DrillbookError as error:
            _say({"failed": {"at": self._at(), "why": error.message}})

    def _keep_to_the_steps(self) -> None:
        with self._inside():
            for number, (at, setting) in enumerate(self._steps):
                if self._over.wait(max(0.0, self._began + at - clock.monotonic())):
                    return
                with self._setting:
                    if self._over.is_set():
                        return
                    if number:
                        self._set(self._steps[number - 1][1], setting, number)
                until = self._steps[number + 1][0] if number + 1 < len(self._steps) else float("inf")
                self._watch(number, self._began + until)

    def _watch(self, number: int, until: float) -> None:
        pause = SETTLED
        while clock.monotonic() + pause < until:
            if self._over.wait(pause):
                return
            self._measure(number)
            pause = EVERY

    def _set(self, before: Setting | None, now: Setting, number: int) -> None:
        devices = self._devices()
        for device in set(devices.values()):
            peers = [peer for peer in self._peers if devices[peer] == device]
            if before is not None and before.kind == now.kind == "throttle":
                traffic.tc(shaping.reshape(device, peers, now))
                continue
            if before is not None and before.shapes:
                traffic.tc([shaping.unshape(device)])
            if now.shapes:
                traffic.tc(shaping.shape(device, peers, self._spared, now))
        if now.drops:
            traffic.nft(shaping.drop(self._peers, self._spared, now))
        elif before is not None and before.drops:
            traffic.nft(shaping.undrop())
        _say({"link": {"at": self._at(), "step": number, "set": str(now)}})

    def _measure(self, number: int) -> list[dict[str, Any]]:
        setting = self._steps[number][1] if number >= 0 else None
        found = []
        for peer in self._measured:
            with contextlib.suppress(OSError):  # the pod's network is going down: there is nothing to measure
                told = _train(peer, setting).told()
                found.append(told)
                _say({"measured": {"at": self._at(), "step": number} | told})
        return found

    def _at(self) -> float:
        return round(clock.monotonic() - self._began, 3) if self._began else 0.0

    def _devices(self) -> dict[str, str]:
        return {peer: traffic.device_to(peer) for peer in self._peers}


def _train(peer: str, setting: Setting | None) -> echo.Train:
    """As long as tells something in about half a second."""
    if setting is not None and setting.kind == "loss":
        return echo.train(peer, 200, size=64)
    if setting is not None and setting.kind == "throttle":
        count = round(setting.rate * 0.5 / 8 / (echo.SIZE + echo.OVERHEAD))
        return echo.train(peer, min(max(count, 12), 64), patience=3.0)
    return echo.train(peer, 64 if setting is None else 8)


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


PROGRAM = LinkProgram
