"""Every fault of drillbook as an action of Chaos Toolkit, ``undo`` for the rollbacks, and the load.

Each fault's undo is armed at the target before it strikes, and a watchdog carries it out as soon as this process ends
without ``undo``: also where Chaos Toolkit plays no rollbacks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from drillbook.chaostoolkit.extension import loop, signature
from drillbook.chaostoolkit.extension.session import Session
from drillbook.chaostoolkit.extension.traffic import Traffic
from drillbook.errors import UndoError
from drillbook.faults.fault import Fault
from drillbook.faults.registry import FAULTS
from drillbook.undo import recover

Configuration = dict[str, Any] | None


def undo(fault: str | None = None, configuration: Configuration = None) -> list[dict[str, str]]:
    """Undo every fault of this process (or those called ``fault``), last first, and see that it is undone.

    For ``rollbacks``. In another process than that of the faults, it undoes what any run left at the target.
    """
    return loop.call(_undo(fault, configuration))


def start_load(configuration: Configuration = None) -> str:
    """Send open-loop traffic to the endpoint from now on: drillbook_rate, drillbook_prompts, drillbook_output_tokens.

    Probes begin it by themselves; begun before the fault, it also shows what users saw of it.
    """

    async def start() -> str:
        session = await Session.of(configuration)
        session.acted = True
        await Traffic.of(session)
        return f"{session.place.load.rate:g} requests a second"

    return loop.call(start())


def stop_load(configuration: Configuration = None) -> int:
    """Stop the traffic; gives the number of requests."""

    async def stop() -> int:
        traffic = (await Session.of(configuration)).extras.get(Traffic)
        return await traffic.end() if isinstance(traffic, Traffic) else 0

    return loop.call(stop())


async def _undo(fault: str | None, configuration: Configuration) -> list[dict[str, str]]:
    session = await Session.of(configuration)
    if fault:
        return await session.undo_fault(fault)
    undone = await session.undo()
    if undone or session.injected:
        return undone
    found = await recover.recover(session.target, await recover.find(session.target, Path("runs")))
    if any(left.remains for left in found):
        raise UndoError("; ".join(left.summary for left in found if left.remains))
    return [{"fault": left.run_id, "state": "undone", "detail": left.summary} for left in found]


def _action(fault: Fault) -> Callable[..., Any]:
    def body(seed: int = 1, configuration: Configuration = None, **options: Any) -> dict[str, Any]:
        async def inject() -> dict[str, Any]:
            given = {key: value for key, value in options.items() if value is not None}
            return await (await Session.of(configuration)).inject(fault.name, given, seed)

        return loop.call(inject())

    doc = f"{fault.summary[0].upper()}{fault.summary[1:]}. It must be seen to bite, or it fails."
    parameters = [*signature.of_step(fault.step), signature.parameter("seed", 1, int)]
    return signature.function(body, signature.python_name(fault.name), __name__, doc, parameters, dict)


_FAULTS = {signature.python_name(name): _action(fault) for name, fault in FAULTS.items()}
globals().update(_FAULTS)

__all__ = ["start_load", "stop_load", "undo", *_FAULTS]  # noqa: PLE0604, RUF100 - names made from the registry
