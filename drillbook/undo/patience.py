"""``Patience``: when a watchdog gives up. What it leaves is in the run folder, for ``drillbook recover``.

An API server may be away for long and come back, so that silence alone proves little. But a sandbox that was removed
takes its kubeconfig along, and a cluster that was made anew has another address in it: then nobody will ever answer.
"""

from __future__ import annotations

from drillbook import clock
from drillbook.errors import DrillbookError, UnreachableError
from drillbook.targets.kube import Kube
from drillbook.undo.record import NoRecordError

GONE_SECONDS = 5.0
"""How long a target may be silent that its kubeconfig does not lead to any more."""
TRYING_SECONDS = 3600.0
"""How long an undo is tried that makes no headway, whatever the reason. A longer outage is a person's to judge."""


class Patience:
    """Counts from its making, or from when it was last ``renewed``."""

    def __init__(self, kube: Kube, kubeconfig: str, context: str) -> None:
        self._kube, self._kubeconfig, self._context = kube, kubeconfig, context
        self.renewed()

    def renewed(self) -> None:
        """Something was achieved, or a new undo begins."""
        self._since = clock.monotonic()

    async def ended(self, error: DrillbookError | None) -> str:
        """Why to try no longer after this failure; empty: try again. ``None``: it answered, and undid not all."""
        waited = clock.monotonic() - self._since
        if isinstance(error, NoRecordError):
            return "neither the target nor the run folder has a record of what to undo"
        if isinstance(error, UnreachableError) and waited > GONE_SECONDS and not await self._is_led_to():
            return f"the target is gone: its kubeconfig {self._kubeconfig} does not lead to it any more"
        return f"tried for {waited / 60:.0f} minutes in vain" if waited > TRYING_SECONDS else ""

    async def _is_led_to(self) -> bool:
        try:
            async with await Kube.from_kubeconfig(self._kubeconfig or None, self._context or None) as now:
                return now.server == self._kube.server
        except UnreachableError:
            return False
