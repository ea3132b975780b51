"""The kubelet's back-off: none before the first restart, then 10 s doubling to 300 s, forgotten after a long run."""

from __future__ import annotations


class Backoff:
    """One container's. Times are epoch seconds."""

    def __init__(self, initial: float, most: float) -> None:
        self._initial = initial
        self._most = most
        self.current = 0.0

    def delay(self, ended: float, now: float, ran: float) -> float:
        """Seconds still to wait at ``now`` before a container that ran ``ran`` seconds and ended at ``ended`` restarts.

        A run of twice the longest back-off clears it, as in the kubelet.
        """
        if ran > 2 * self._most:
            self.current = 0.0
        waited = max(0.0, ended + self.current - now)
        self.current = min(self.current * 2, self._most) if self.current else self._initial
        return waited

    @property
    def shown(self) -> float:
        """The back-off that the last :meth:`delay` was made of, for messages."""
        return self.current
