"""Every probe of drillbook as a probe of Chaos Toolkit, read off real requests and watched objects.

A probe gives a number in the base unit (seconds, shares between 0 and 1, counts, per second). What cannot be measured
fails, and never passes: no data, too few requests, a load that died, a fault that did not strike.

Chaos Toolkit asks a hypothesis before the method too, and passes over tolerances in the method. ``before`` is what a
probe gives as long as no action was called: with it, what is expected of a fault can stand in the hypothesis.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from drillbook.chaostoolkit.extension import loop, signature
from drillbook.chaostoolkit.extension.session import Session
from drillbook.chaostoolkit.extension.traffic import Traffic, windowed
from drillbook.probes.reading import Kind, Probe
from drillbook.probes.registry import PROBES

SECONDS = 10.0
"""The window of a probe that does not say."""
PATIENCE = 120.0
"""How long an event is waited for."""

Configuration = dict[str, Any] | None
_BEFORE = signature.parameter("before", None, float)


def _ask(read: Callable[[Traffic], Awaitable[float]], before: float | None, configuration: Configuration) -> float:
    async def ask() -> float:
        session = await Session.of(configuration)
        if before is not None and not session.acted:
            return float(before)
        return await read(await Traffic.of(session))

    return loop.call(ask())


def _over_window(probe: Probe) -> Callable[..., Any]:
    def body(seconds: float = SECONDS, before: float | None = None, configuration: Configuration = None) -> float:
        return _ask(lambda traffic: traffic.measure(probe, float(seconds)), before, configuration)

    return _function(
        probe,
        body,
        "over the last seconds, or since the first fault with 0",
        [signature.parameter("seconds", SECONDS, float), _BEFORE],
    )


def _since_injection(probe: Probe) -> Callable[..., Any]:
    def body(before: float | None = None, configuration: Configuration = None) -> float:
        return _ask(lambda traffic: traffic.since_injection(probe), before, configuration)

    return _function(probe, body, "since the first fault of this process", [_BEFORE])


def _event(probe: Probe) -> Callable[..., Any]:
    def body(
        timeout: float = PATIENCE, of: str = "inject", before: float | None = None, configuration: Configuration = None
    ) -> float:
        return _ask(lambda traffic: traffic.happened(probe, float(timeout), of), before, configuration)

    what = "waited for; seconds after the first fault, or of='undo' after the last undo"
    parameters = [signature.parameter("timeout", PATIENCE, float), signature.parameter("of", "inject", str), _BEFORE]
    return _function(probe, body, what, parameters)


def _function(probe: Probe, body: Callable[..., Any], when: str, parameters: list[Any]) -> Callable[..., Any]:
    unit = probe.dimension.value if probe.dimension else "event"
    doc = f"{probe.help[0].upper()}{probe.help[1:]} ({unit}), {when}."
    return signature.function(body, signature.python_name(probe.name), __name__, doc, parameters, float)


def _probe(probe: Probe) -> Callable[..., Any]:
    make = _over_window if windowed(probe) else _event if probe.kind is Kind.EVENT else _since_injection
    return make(probe)


_PROBES = {signature.python_name(name): _probe(probe) for name, probe in PROBES.items()}
globals().update(_PROBES)

__all__ = [*_PROBES]  # noqa: PLE0604, RUF100 - names made from the registry
